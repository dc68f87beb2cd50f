#!/bin/sh
# Prepares a Temporal server for Retinue: the namespace, and the search attributes by which runs are listed.
# Safe to repeat, and as good for a server that is run elsewhere. Needs the temporal CLI and TEMPORAL_ADDRESS.
set -eu

: "${TEMPORAL_NAMESPACE:=default}"
: "${TEMPORAL_RETENTION:=30d}"
: "${PATIENCE:=60}"
export TEMPORAL_NAMESPACE

# Temporal answers a few seconds after its port opens, and knows what is new a few seconds after it was made.
patiently() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -ge "$PATIENCE" ]; then
            "$@" # once more, to show what it says
            return
        fi
        sleep 1
    done
}

namespace() {
    temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" ||
        temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$TEMPORAL_RETENTION"
}


patiently temporal operator cluster health
patiently namespace
# One at a time: when some of several names exist already, the others would be left out without a word.
patiently temporal operator search-attribute create --name RetinueStatus --type Keyword
patiently temporal operator search-attribute create --name RetinueOwner --type Keyword
patiently temporal operator search-attribute create --name RetinueTenant --type Keyword
patiently temporal operator search-attribute create --name RetinuePendingApprovals --type Int
patiently temporal operator search-attribute create --name RetinueApprovers --type KeywordList
patiently temporal workflow list --query "RetinueStatus = '' AND RetinueOwner = '' AND RetinueTenant = '' AND RetinuePendingApprovals = 0"
echo "namespace $TEMPORAL_NAMESPACE is ready"
