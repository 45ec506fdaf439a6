.PHONY: check typecheck test

RUN = ./run

check: typecheck
	$(RUN) ruff check .
	$(RUN) ruff format --check .

# The folders stand at the top and are installed as pinfm.<folder>; mypy is shown that shape through links.
typecheck:
	rm -rf .typing && mkdir -p .typing/pinfm
	for folder in embeddings model train inference torchx_specs; do ln -s ../../$$folder .typing/pinfm/$$folder; done
	$(RUN) mypy

test:
	$(RUN) pytest
