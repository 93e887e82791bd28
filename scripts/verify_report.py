#!/usr/bin/env python3
"""Verify signed RUM reports by docs/formats.md: verify_report.py [--anchor PEM] [FILE ...]; without FILE, stdin."""

from base64 import b64decode
import hashlib
import json
from pathlib import Path
import sys
from xml.etree import ElementTree

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

results = (sys.argv[1:2] in (["-h"], ["--help"]) and sys.exit(print(__doc__))) or []
anchor = x509.load_pem_x509_certificate(Path(sys.argv[2]).read_bytes()) if sys.argv[1:2] == ["--anchor"] else None
for text in [Path(name).read_text() for name in sys.argv[3 if anchor else 1 :]] or [sys.stdin.read()]:
    while text := text.strip():
        try:
            if text.startswith("<"):
                text = "".join(element.text or "" for element in ElementTree.fromstring(text).iter("RUMReport"))
            document, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, SyntaxError):
            text, document, end = "", None, 0
        try:
            text = text[end:]
            payload, signature = document["payload"].encode(), document["signature"]
            if anchor or signature["signing_type"] == "trust-code":
                trust_code = x509.load_der_x509_certificate(b64decode(signature["certificate"]))
                key = (anchor and trust_code.verify_directly_issued_by(anchor)) or trust_code.public_key()
            else:
                key = serialization.load_der_public_key(b64decode(signature["public_key"]))
            key.verify(b64decode(signature["value"]), payload, ec.ECDSA(hashes.SHA256()))
            asset = (stated := json.loads(payload))["asset_identification"]
            number = (asset | stated["meta"])["report_id"]  # in payload version 2 in the one, in 1 in the other
            key = "PID:{udi_pid},SN:{udi_serial_number},REPORT:{}".format(number, **asset["instance"]["sudi"])
            results.append(f"OK {key} sha256:{hashlib.sha256(payload).hexdigest()}")
        except Exception as error:
            results.append(f"FAILED {error!r}" if document else "FAILED not JSON or XML, or cut off")
sys.exit(print(*results, sep="\n") or not results or any(result.startswith("FAILED") for result in results))
