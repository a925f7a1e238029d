"""Write docs/openapi.json: the document for the default options."""

import json

from infra.openapi.document import document, text
from infra.options import ROOT

context = json.loads((ROOT / "cdk.json").read_text())["context"]
(ROOT / "docs" / "openapi.json").write_bytes(text(document(context["auth"]), indent=2))
