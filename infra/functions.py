"""Lambda functions, and the layers that they share."""

from pathlib import Path

from aws_cdk import Duration, aws_events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from elasticrecode.contract.wiring import Wiring
from infra import kept, layers
from infra.options import ROOT, Options

MEMORY_MIB = 1024


class Functions(Construct):
    """Makes functions from `functions/<name>` on the two layers they share.

    All functions lie in this construct, whatever package they belong to, so that a function that moves to another
    package keeps its log group. `named` has those that were made.
    """

    def __init__(self, scope: Construct, id_: str, options: Options, wiring: Wiring) -> None:
        super().__init__(scope, id_)
        self._options, self._wiring = options, wiring
        self._runtime = lambda_.Runtime(options.lambdaRuntime, lambda_.RuntimeFamily.PYTHON)
        arm = options.lambdaPlatform.startswith("aarch64")
        self._architecture = lambda_.Architecture.ARM_64 if arm else lambda_.Architecture.X86_64
        self._layers = []
        self.named: dict[str, lambda_.Function] = {}
        for name, folder in (("Core", layers.core(options)), ("Dependencies", layers.dependencies(options))):
            code = lambda_.Code.from_asset(str(folder), asset_hash=folder.name.split("-")[1])
            self._layers.append(
                lambda_.LayerVersion(
                    self,
                    name,
                    code=code,
                    compatible_runtimes=[self._runtime],
                    compatible_architectures=[self._architecture],
                )
            )
        every_minute = aws_events.Schedule.rate(Duration.minutes(1))
        self._each_minute = aws_events.Rule(scope, "EveryMinute", schedule=every_minute)

    def make(
        self,
        name: str,
        *,
        memory_mib: int = MEMORY_MIB,
        seconds: int = 20,
        folder: Path | None = None,
    ) -> lambda_.Function:
        """A function with its settings in its environment, and a role that may only write its log.

        Its code is `functions/<name>`, or another `folder`.
        """
        title = name.capitalize()
        environment = self._wiring.settings_of(name).environ()
        log = kept.log_group(self, f"{title}Logs")
        role = iam.Role(self, f"{title}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log.grant_write(role)
        self.named[name] = lambda_.Function(
            self,
            title,
            runtime=self._runtime,
            architecture=self._architecture,
            handler="handler.handler",
            code=lambda_.Code.from_asset(str(folder or ROOT / "functions" / name), exclude=["__pycache__"]),
            layers=self._layers,
            memory_size=memory_mib,
            timeout=Duration.seconds(seconds),
            environment={**environment, "POWERTOOLS_LOG_LEVEL": "DEBUG" if self._options.verbose else "INFO"},
            role=role,
            log_group=log,
        )
        return self.named[name]

    def run_each_minute(self, function: lambda_.Function) -> None:
        """Invoke a function once a minute. A failed run is not repeated; the next one does its work.

        An EventBridge rule takes at most five targets, so a sixth function needs a second rule.
        """
        self._each_minute.add_target(targets.LambdaFunction(function, retry_attempts=0))
