#!/usr/bin/env bash
# The few-shot results on Omniglot, of all rules in results/rules/omniglot or of some systems: `results/omniglot.sh umtra`.
# Some hours; a file that is there stays. `make pages` then makes the page, which says how each rule was trained.
set -euo pipefail
cd "$(dirname "$0")/.."
rules=results/rules/omniglot found=results/omniglot
mkdir -p "$found"

judge() { # judge FILE WAYS RULES ARGUMENT...
  [ -f "$found/$1.json" ] && return
  local files=()
  for rule in $3; do files+=("$rules/$rule.safetensors"); done
  python scripts/evaluate.py --rule "${files[@]}" --ways "$2" --shots 1 5 --queries 5 --tasks 1000 \
    --json "$found/$1.json" "${@:4}"
}

across="--data omniglot@test" within="--data omniglot#alphabet@test" alone="--baselines none" start="--baselines untrained_rule"

protonet() { # protonet SYSTEM WHAT-BESIDE
  judge "$1_5way" 5 "$1_0" $across $2
  judge "$1_others_5way" 5 "$1_1 $1_2" $across $alone
  judge "$1_20way" 20 "$1_0" $across $2
  judge "$1_others_20way" 20 "$1_1 $1_2" $across $alone
  judge "$1_alphabet" 5 "$1_0" $within $2
  judge "$1_batch" 5 "$1_0" $across $alone --normalisation batch
}

maml() { # maml SYSTEM, whose head is of five ways
  judge "$1_5way" 5 "$1_0" $across $start --steps 10
  judge "$1_others_5way" 5 "$1_1 $1_2" $across $alone --steps 10
  judge "$1_alphabet" 5 "$1_0" $within $start --steps 10
  judge "$1_support" 5 "$1_0" $across $alone --steps 10 --normalisation support
}

all=(protoclr aal_protonet cactus_protonet oracle_protonet shuffled_protonet aal_protonet_running umtra umtra_paper aal_maml
  cactus_maml oracle_maml augmentation_pretraining cactus_maml_2_step{1000,1500})
for system in "${@:-${all[@]}}"; do
  case $system in
    aal_protonet) protonet $system "$start raw_logistic raw_nearest --encoder $rules/acai.safetensors" ;;
    protoclr | *_protonet) protonet "$system" "$alone" ;; # their start is that of AAL
    *_running) judge "${system}_5way" 5 "${system}_0" $across $alone ;;
    umtra_paper | augmentation_pretraining) judge "${system}_5way" 5 "${system}_0" $across $start --steps 10 ;;
    *_step*) judge "$system" 5 "$system" $across $alone --steps 10 ;;
    *) maml "$system" ;;
  esac
  if [ "$system" = cactus_maml ]; then # its head is of twenty
    judge cactus_maml_20way 20 cactus_maml_0 $across $start --steps 10
    judge cactus_maml_others_20way 20 "cactus_maml_1 cactus_maml_2" $across $alone --steps 10
  fi
done
