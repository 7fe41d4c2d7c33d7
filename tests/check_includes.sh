#!/bin/bash
# The direction of dependencies: which folder may include what of which. Prints every offence.
#
#   common       nothing else here
#   client       common
#   shard        common
#   coordinator  common
#   tools        client, common (what measures the engine alone, what reads backups: shard)
#   tests        anything; nothing includes tools or tests but themselves
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A allowed=(
    [common]='common'
    [client]='client|common'
    [shard]='shard|common'
    [coordinator]='coordinator|common'
    [tools]='tools|client|common'
    [tests]='tests|tools|client|shard|coordinator|common'
)
failed=0
for folder in "${!allowed[@]}"; do
    while IFS=: read -r file line text; do
        included=$(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' <<<"$text")
        target=${included%%/*}
        if [[ $included == "$target" ]]; then
            echo "$file:$line: include by folder, from the root: $included"
            failed=1
        elif [[ $folder == tools && $target == shard && $file == tools/contender_shardcask.c ]]; then
            continue # measures the engine without a network
        elif [[ $folder == tools && $target == shard && $file == tools/restore_source.c ]]; then
            continue # reads backups, which are directories of the engine
        elif ! [[ $target =~ ^(${allowed[$folder]})$ ]]; then
            echo "$file:$line: $folder must not include $included"
            failed=1
        fi
    done < <(grep -rn --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$folder" || true)
done
exit "$failed"
