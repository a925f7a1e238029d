"""CDK entry: options in, one stack out.

Synthesis needs no account, and no network once the wheels of the layers are in `.build/`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "layers" / "core" / "python"))

from aws_cdk import App

from elasticrecode.errors import Invalid
from infra import options
from infra.control_plane import ControlPlane
from infra.layers import LayerError

app = App()
try:
    chosen = options.read(app.node.get_all_context())
except Invalid as error:
    sys.exit(options.explain(error))
try:
    ControlPlane(app, chosen)
except LayerError as error:
    sys.exit(str(error))
app.synth()
