"""CDK entry: options in, one stack out. Synthesis touches neither network nor clock nor account."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "layers" / "core" / "python"))

from aws_cdk import App

from elasticrecode.errors import Invalid
from infra import options
from infra.control_plane import ControlPlane

app = App()
try:
    chosen = options.read(app.node.get_all_context())
except Invalid as error:
    sys.exit(options.explain(error))
ControlPlane(app, chosen)
app.synth()
