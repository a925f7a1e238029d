"""Write docs/openapi.json: the document for the default options."""

from infra.openapi.document import document, text
from infra.options import ROOT, Options

(ROOT / "docs" / "openapi.json").write_bytes(text(document(Options().auth), indent=2))
