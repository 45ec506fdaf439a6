"""How a verb is launched, and the flags of it: the one home of what all components share."""

import inspect
from collections.abc import Callable
from typing import Optional

from torchx import specs
from torchx.components.dist import ddp

VERBS_MODULE = "pinfm.train.cli.main"
SUPERVISOR = "pinfm.train.launch.supervisor"
Component = Callable[..., specs.AppDef]


def launch(
    verb: str,
    *verb_args: str,
    j: str = "1x1",
    image: str = "",
    h: Optional[str] = None,  # noqa: UP045 - TorchX reads the annotation as text
    cpu: int = 2,
    gpu: int = 0,
    memMB: int = 8192,
    max_retries: int = 0,
) -> specs.AppDef:
    """TorchX's own distributed application with our verb in every process, kept going on each machine.

    TorchX hands its retries to the scheduler, which starts lost machines again, and some schedulers start nothing
    again. So the launcher of each machine does it for the processes there.

    Args:
        verb: what every process runs.
        verb_args: its flags, such as --config kuairand --data DATASET --out RUN
        j: nodes x processes per node, such as 2x8
        image: container image; the local schedulers need none
        h: a named resource of the scheduler, in place of cpu, gpu and memMB
        cpu: cores per node
        gpu: GPUs per node
        memMB: memory per node in MiB
        max_retries: restarts after failures, each from the newest checkpoint

    Raises:
        ValueError: a number of nodes and processes, or of restarts, that is none.
    """
    if max_retries < 0:
        raise ValueError(f"max_retries ({max_retries}) must be at least 0.")
    app = ddp(
        verb,
        # A start again is of the same job, and goes on with what the job began.
        *("--job", specs.macros.app_id),
        *verb_args,
        m=VERBS_MODULE,
        name=f"pinfm-{verb}",
        image=image,
        j=j,
        h=h,
        cpu=cpu,
        gpu=gpu,
        memMB=memMB,
        max_retries=max_retries,
    )
    (role,) = app.roles
    # Schedulers name jobs by the role, and TorchX calls it after the module: both verbs would be `main`.
    role.name = verb
    shell, command = role.args
    program, _, flags = command.partition(" ")
    assert (shell, program) == ("-c", "torchrun"), command
    role.args = [shell, f"exec python -m {SUPERVISOR} --max-restarts {max_retries} -- {flags}"]
    return app


def flags_of(shared: Component) -> Callable[[Component], Component]:
    """Gives a component the flags of another function, but for its first argument, and their descriptions.

    TorchX makes a command line of a component's signature and docstring, and wants the component itself to be a plain
    function in its file.

    Args:
        shared: takes the verb, its arguments, and the flags.
    """

    def take(component: Component) -> Component:
        signature = inspect.signature(shared)
        _, *flags = signature.parameters.values()
        component.__signature__ = signature.replace(parameters=flags)  # type: ignore[attr-defined]
        described = inspect.getdoc(shared) or ""
        component.__doc__ = f"{component.__doc__}\n\nArgs:{described.partition('Args:')[2].partition('Raises:')[0]}"
        return component

    return take
