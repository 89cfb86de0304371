#!/bin/sh
# Makes the secrets that the compose file names, once: a Redis password, and tokens for the page and for metrics.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
[ -e secrets/redis.conf ] && { echo "secrets/ is there already: nothing done"; exit 0; }
secret() { head -c 24 /dev/urandom | base64 | tr -d '+/=\n'; }
password=$(secret)
cat > secrets/redis.conf <<CONF
requirepass $password
appendonly yes
appendfsync always
aof-use-rdb-preamble no
maxmemory-policy noeviction
dir /data
CONF
secret > secrets/line.token
secret > secrets/metrics.token
sed -i "s/CHANGE-ME/$password/" line.yaml
chmod 644 secrets/redis.conf secrets/line.token secrets/metrics.token  # the containers run as users of their own
chmod 700 secrets
echo "secrets/ made; the page's token is in secrets/line.token"
