"""What to type about this deployment. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """Commands for a stack of a Region; `profile` is that of the AWS configuration, `parameters` those of the stack."""

    region: str
    stack: str = "ElasticRecode"
    profile: str = ""
    parameters: Sequence[str] = ()
    is_embedded: bool = False

    def cli(self, command: str) -> str:
        """A command of the AWS CLI."""
        profile = f" --profile {self.profile}" if self.profile else ""
        return f"aws {command} --region {self.region}{profile}"

    def restore(self) -> str:
        """What brings all resources back to what the template says."""
        if self.is_embedded:
            return "make clean && make up   (deletes the data of this machine's stack)"
        kept = " ".join(f"ParameterKey={name},UsePreviousValue=true" for name in self.parameters)
        which = f"--stack-name {self.stack} --change-set-name doctor"
        given = f" --parameters {kept}" if kept else ""
        create = (
            f"cloudformation create-change-set {which} --use-previous-template{given} --deployment-mode REVERT_DRIFT "
            "--capabilities CAPABILITY_IAM CAPABILITY_NAMED_IAM"
        )
        wait, execute = "cloudformation wait change-set-create-complete", "cloudformation execute-change-set"
        return " && ".join((self.cli(create), self.cli(f"{wait} {which}"), self.cli(f"{execute} {which}")))

    def start_workers(self) -> str:
        """What starts workers."""
        if self.is_embedded:
            return "make up   (or make up WORKERS=2)"
        return "kubectl -n elasticrecode scale deployment --all --replicas=1   (or docs/reference/workers.md)"
