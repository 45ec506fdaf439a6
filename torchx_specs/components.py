"""TorchX components, one per verb that trains: `torchx run -s local_cwd pinfm.pretrain -j 1x2 -- --config kuairand ...`

They are TorchX's own distributed component with our verbs as the module; flags from the first unknown one on go to the
verb.
"""

from typing import Optional

from torchx import specs
from torchx.components.dist import ddp

VERBS_MODULE = "pinfm.train.cli.main"


def pretrain(
    *verb_args: str,
    j: str = "1x1",
    image: str = "",
    h: Optional[str] = None,  # noqa: UP045 - TorchX reads the annotation as text
    cpu: int = 2,
    gpu: int = 0,
    memMB: int = 8192,
    max_retries: int = 0,
) -> specs.AppDef:
    """Self-supervised pretraining of item tables and tower.

    Args:
        verb_args: flags of `pinfm pretrain`, such as --config kuairand --data DATASET --out RUN
        j: nodes x processes per node, such as 2x8
        image: container image; the local schedulers need none
        h: a named resource of the scheduler, in place of cpu, gpu and memMB
        cpu: cores per node
        gpu: GPUs per node
        memMB: memory per node in MiB
        max_retries: restarts after a failure; add --resume to continue from the newest checkpoint
    """
    return _launch("pretrain", verb_args, j, image, h, cpu, gpu, memMB, max_retries)


def finetune(
    *verb_args: str,
    j: str = "1x1",
    image: str = "",
    h: Optional[str] = None,  # noqa: UP045 - TorchX reads the annotation as text
    cpu: int = 2,
    gpu: int = 0,
    memMB: int = 8192,
    max_retries: int = 0,
) -> specs.AppDef:
    """Joint training of tower and ranker.

    Args:
        verb_args: flags of `pinfm finetune`, such as --config kuairand --data DATASET --out RUN --pretrained PRETRAINED
        j: nodes x processes per node, such as 2x8
        image: container image; the local schedulers need none
        h: a named resource of the scheduler, in place of cpu, gpu and memMB
        cpu: cores per node
        gpu: GPUs per node
        memMB: memory per node in MiB
        max_retries: restarts after a failure; add --resume to continue from the newest checkpoint
    """
    return _launch("finetune", verb_args, j, image, h, cpu, gpu, memMB, max_retries)


def _launch(
    verb: str,
    verb_args: tuple[str, ...],
    j: str,
    image: str,
    h: Optional[str],  # noqa: UP045
    cpu: int,
    gpu: int,
    memory: int,
    max_retries: int,
) -> specs.AppDef:
    return ddp(
        verb,
        *verb_args,
        m=VERBS_MODULE,
        name=f"pinfm-{verb}",
        image=image,
        j=j,
        h=h,
        cpu=cpu,
        gpu=gpu,
        memMB=memory,
        max_retries=max_retries,
    )
