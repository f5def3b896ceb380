#!/bin/sh
# Run every everyday command once, briefly, in an empty folder: sh .ci/try_commands.sh /path/to/nas. Ends at the first failure.
set -eu
nas=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

run() {
  echo "+ nas $*"
  "$nas" "$@" >output.txt 2>&1 || {
    cat output.txt
    exit 1
  }
}

brief="proxy.steps=3 ladder_seeds=1 latency.max_seconds=0.5 workers=1"
table="evaluator=table space=esr_bench_mini challenge=esr_bench_mini proxy.steps=2000 workers=1"
run --help
run spaces
run spaces space=esr
run search run=brief trials=2 $brief
run search run=brief trials=3
run search run=bayes trials=12 sampler=cost_aware $table
run search run=tpe trials=4 sampler=tpe $table
run search run=evolution trials=4 sampler=nsga2 $table
run report run=brief
run profile arch=published/span measure=false layers=true
run profile arch=brief:knee latency.max_seconds=0.5 "latency.sizes=[[32,32]]"
run evaluate arch=brief:knee "out=[all.json,results.txt]" sr_images=sr latency.max_seconds=0.5
run upscale in=sr out=sr_x4 arch=brief:knee
run export run=brief pick=knee "formats=[safetensors]" out=exported
if "$(dirname "$nas")/python" -c "import onnxruntime" 2>/dev/null; then
  run profile arch=published/span latency.backend=onnxruntime latency.max_seconds=0.5 "latency.sizes=[[32,32]]"
fi
echo "every command ran"
