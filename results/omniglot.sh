#!/usr/bin/env bash
# The few-shot study on Omniglot, in the project's environment; `python scripts/get_data.py omniglot` comes first.
#   results/omniglot.sh train SYSTEM [SEED]   retrains a row into results/rules/omniglot; a stopped run goes on
#   results/omniglot.sh judge [SYSTEM ...]    the results that are missing in results/omniglot, of all or some systems; hours
#   results/omniglot.sh costs                 the seconds of the rows, on cores that do nothing else
# `make pages` then makes the page.
set -euo pipefail
cd "$(dirname "$0")/.."
rules=results/rules/omniglot found=results/omniglot
mkdir -p "$found"
trained=(shuffled_protonet cactus_protonet aal_protonet protoclr oracle_protonet cactus_maml umtra umtra_paper aal_maml
  oracle_maml augmentation_pretraining)

settings() { # settings SYSTEM: a config and what is changed in it
  case $1 in
    shuffled_protonet) echo configs/aal_protonet.yaml tasks.labeller=shuffled ;;
    oracle_protonet) echo configs/aal_protonet.yaml tasks.labeller=true ;;
    aal_protonet_running) echo configs/aal_protonet.yaml network.normalisation=running ;;
    protoclr_background) echo configs/protoclr.yaml tasks.sources=[omniglot@background] evaluation.sources=[strokes@valid] ;;
    oracle_maml) echo configs/umtra.yaml tasks.labeller=true ;;
    umtra_paper)
      echo configs/umtra.yaml tasks.queries=1 tasks.labeller.options.augmentation=zero_pixels=0.5,shift=0.21 outer_steps=4000
      ;;
    cactus_*) echo "configs/$1.yaml tasks.labeller.options.encoder=$rules/acai.safetensors" ;;
    *) echo "configs/$1.yaml" ;;
  esac
}

train() { # train SYSTEM [SEED]
  if [ "$1" = acai ]; then
    python scripts/train_encoder.py --data omniglot@train --critic --steps 4000 --learning-rate 1e-3 --seed "${2:-0}" \
      --out "$rules/acai.safetensors"
    return
  fi
  local name=$1_${2:-0} said
  read -ra said <<<"$(settings "$1")"
  python scripts/meta_train.py --config "${said[@]}" "seed=${2:-0}" "run_dir=runs/omniglot/$name" 'report.sources=[]' --auto-resume
  cp -v "runs/omniglot/$name/rule_last.safetensors" "$rules/$name.safetensors" # the last one: no label chose it
}

costs() {
  local runs=() said
  for system in "${trained[@]}"; do
    read -ra said <<<"$(settings "$system")"
    [ "$system" = aal_maml ] && said+=(rule.options.first_order=0) # as all but its first outer steps are
    runs+=(--run "$system" "${said[@]}")
  done
  python scripts/compare_cost.py --json "$found/costs.json" "${runs[@]}"
}

one() { # one FILE WAYS RULES ARGUMENT...
  if [ -f "$found/$1.json" ]; then
    echo "kept $found/$1.json; remove it to have it made anew"
    return
  fi
  local files=()
  for rule in $3; do files+=("$rules/$rule.safetensors"); done
  python scripts/evaluate.py --rule "${files[@]}" --ways "$2" --shots 1 5 --queries 5 --tasks 1000 \
    --json "$found/$1.json" "${@:4}"
}

across="--data omniglot@test" within="--data omniglot#alphabet@test" alone="--baselines none" start="--baselines untrained_rule"

protonet() { # protonet SYSTEM WHAT-BESIDE
  one "$1_5way" 5 "$1_0" $across $2
  one "$1_others_5way" 5 "$1_1 $1_2" $across $alone
  one "$1_20way" 20 "$1_0" $across $2
  one "$1_others_20way" 20 "$1_1 $1_2" $across $alone
  one "$1_alphabet" 5 "$1_0" $within $2
  one "$1_batch" 5 "$1_0" $across $alone --normalisation batch
}

maml() { # maml SYSTEM, whose head is of five ways
  one "$1_5way" 5 "$1_0" $across $start --steps 10
  one "$1_others_5way" 5 "$1_1 $1_2" $across $alone --steps 10
  one "$1_alphabet" 5 "$1_0" $within $start --steps 10
  one "$1_support" 5 "$1_0" $across $alone --steps 10 --normalisation support
}

judge() { # judge SYSTEM...
  for system in "$@"; do
    case $system in
      aal_protonet) protonet $system "$start raw_logistic raw_nearest --encoder $rules/acai.safetensors" ;;
      protoclr | *_protonet) protonet "$system" "$alone" ;; # their start is that of AAL
      *_background) echo "scripts/one_shot_runs.py judges $system" ;;
      *_running) one "${system}_5way" 5 "${system}_0" $across $alone ;;
      umtra_paper | augmentation_pretraining) one "${system}_5way" 5 "${system}_0" $across $start --steps 10 ;;
      *_step*) one "$system" 5 "$system" $across $alone --steps 10 ;;
      *) maml "$system" ;;
    esac
    if [ "$system" = cactus_maml ]; then # its head is of twenty
      one cactus_maml_20way 20 cactus_maml_0 $across $start --steps 10
      one cactus_maml_others_20way 20 "cactus_maml_1 cactus_maml_2" $across $alone --steps 10
    fi
  done
}

case ${1:-}-$# in
  train-2 | train-3) train "${@:2}" ;;
  judge-1) judge "${trained[@]}" aal_protonet_running cactus_maml_2_step{1000,1500} ;;
  judge-*) judge "${@:2}" ;;
  costs-1) costs ;;
  *)
    sed -n '2,6s/^# *//p' "$0" >&2
    exit 2
    ;;
esac
