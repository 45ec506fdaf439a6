"""TorchX components, one per verb that trains: `torchx run -s local_cwd pinfm.pretrain -j 1x2 -- --config kuairand ...`

Flags from the first unknown one on go to the verb.
"""

from typing import Any

from torchx import specs

from pinfm.torchx_specs.launch import flags_of, launch


@flags_of(launch)
def pretrain(*verb_args: str, **flags: Any) -> specs.AppDef:
    """Self-supervised pretraining of item tables and tower."""
    return launch("pretrain", *verb_args, **flags)


@flags_of(launch)
def finetune(*verb_args: str, **flags: Any) -> specs.AppDef:
    """Joint training of tower and ranker."""
    return launch("finetune", *verb_args, **flags)
