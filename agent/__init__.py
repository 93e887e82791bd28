"""The device agent of Smart Licensing Using Policy. `app.py` joins its rooms; nothing else imports them all."""
