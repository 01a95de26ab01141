#!/usr/bin/env bash
# Fails if documents, user-facing strings or doc comments have a phrase that is hard to read, and names file, line and
# phrase. It finds phrases across line breaks too. Plain `//` comments are not checked.
#
# usage: scripts/prose.sh [FILE…]        all tracked documents and production code by default
set -euo pipefail
cd "$(dirname "$0")/.."

# Extended regular expressions in lower case. Say it plainly instead: subject first, active verb, "if" for a condition.
phrases=(
    "nobody's" "whoever" "of theirs" "but by" "but for" "a thing" "so many of" "none where"
    "as [^.,;:]* as may" "what(ever)? (becomes|became|came|comes) of" "(is|are|was|were) looked for"
    "keeps all it knows" "a key marked" "fail as they should" "(a|no) job is of" "job vanishes" "open jobs are compared"
)
joined=$(IFS='|'; echo "${phrases[*]}")

files=("$@")
if [ ${#files[@]} -eq 0 ]; then
    mapfile -t files < <(git ls-files '*.md' '*.rs' | grep -v '^tests/')
fi
# awk would take a relative name with "=" for an assignment.
for i in "${!files[@]}"; do
    case ${files[i]} in [!/]*=*) files[i]=./${files[i]} ;; esac
done
awk -v apostrophe="'" -v phrases="(^|[^a-z_])($joined)([^a-z_]|$)" '
    FNR == 1 { before = "" }
    FILENAME ~ /\.rs$/ && /^[ \t]*\/\/([^\/!]|$)/ { before = ""; next }
    {
        text = tolower($0)
        gsub("’", apostrophe, text)
        sub(/^[ \t]*(\/\/[\/!]|[*-] |> )?[ \t]*/, "", text)
        both = before " " text
        seen = 0
        while (match(both, phrases)) {
            phrase = substr(both, RSTART, RLENGTH)
            both = substr(both, RSTART + RLENGTH - 1)
            seen += RSTART + RLENGTH - 2
            if (seen > length(before)) {
                gsub(/^[^a-z]+|[^a-z]+$/, "", phrase)
                printf "%s:%d: \"%s\"\n", FILENAME, FNR, phrase
                found++
                break
            }
        }
        before = text
    }
    END { exit found > 0 }
' "${files[@]}" || {
    echo "scripts/prose.sh: rewrite these sentences: subject first, active verb, one idea" >&2
    exit 1
}
