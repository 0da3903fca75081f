"""The containers' health check: exit 0 where this container's own process says that it is well."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request

port = os.environ.get("PARLEY_PORT", "8000")
scheme = "https" if os.environ.get("PARLEY_TLS_CERT") else "http"
context = ssl.create_default_context()
context.check_hostname = False  # the certificate names the public host, and this is loopback
context.verify_mode = ssl.CERT_NONE
try:
    urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}/health", timeout=4, context=context)
except (urllib.error.URLError, TimeoutError) as error:
    sys.exit(f"not well: {error}")
