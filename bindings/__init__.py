"""Generated from yang/ by scripts/gen_bindings; do not edit: change the YANG text and run the script again.

Holds nothing by itself, so that importing one class does not import all. `licensing` has a class for each container
and list, `<module>_rpc` one for each input and output, `<module>_notification` one for each notification;
`schema.json` is the run-time schema, `yang/` the texts of all modules in it. docs/models.md tells how to use them.
"""
