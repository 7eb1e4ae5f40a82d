#!/usr/bin/env bash
# A real SLURM on this one machine, for tests: slurmctld, slurmd and munge of Debian or Ubuntu, without systemd, on loopback only.
#   one-node.sh start      install what is missing, configure, start; as root; once it runs this does nothing
#   one-node.sh restart    stop the controller in the middle of whatever there is, and start it again
#   one-node.sh stop       end the daemons that `start` started
# State and logs are in $SLURM_NODE (default /tmp/geed-slurm). It overwrites /etc/slurm/*.conf, so it refuses to start where there is
# a configuration of somebody else's.
set -euo pipefail
STATE=${SLURM_NODE:-/tmp/geed-slurm}
HOST=$(hostname -s)
OURS="# written by geed's tests/slurm/one-node.sh"

runs() { [ -f "$STATE/$1.pid" ] && kill -0 "$(cat "$STATE/$1.pid")" 2>/dev/null; }

end() {
    runs "$1" || return 0
    kill "$(cat "$STATE/$1.pid")"
    for _ in $(seq 100); do runs "$1" || return 0; sleep 0.1; done
    kill -9 "$(cat "$STATE/$1.pid")"
}

wait_for() { # a command, for half a minute
    for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
    echo "one-node.sh: waited in vain for: $*; see $STATE/log" >&2
    return 1
}

ready() { sinfo -h -o %T | grep -Eq 'idle|mixed|allocated'; }

install_packages() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return 0
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge; } >"$STATE/log/apt.log" 2>&1 ||
        { echo "one-node.sh: SLURM could not be installed; see $STATE/log/apt.log" >&2; exit 1; }
}

start_munge() { # runs as its own user, with the key that its package made
    install -d -o munge -g munge -m 0755 /run/munge
    [ -s /etc/munge/munge.key ] || runuser -u munge -- /usr/sbin/mungekey --create
    munge -n </dev/null >/dev/null 2>&1 && return 0
    rm -f /run/munge/munge.socket.2*
    runuser -u munge -- /usr/sbin/munged --pid-file=/run/munge/munged.pid
    cp /run/munge/munged.pid "$STATE/munged.pid"
}

configure() {
    if [ -e /etc/slurm/slurm.conf ] && ! grep -qF "$OURS" /etc/slurm/slurm.conf; then
        echo "one-node.sh: /etc/slurm/slurm.conf is somebody else's; nothing was started" >&2
        exit 1
    fi
    mkdir -p /etc/slurm
    # More processors than there may be (config_overrides): a job of a test waits or computes little. No cgroups are asked for, so
    # nothing confines a job's memory: jobs do it themselves (GEED_LIMIT_MEMORY). OverTimeLimit is 0: a time limit is one.
    cat >/etc/slurm/slurm.conf <<CONF
$OURS
ClusterName=geed
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/d
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MinJobAge=7200
InactiveLimit=0
KillWait=5
DefMemPerCPU=500
GresTypes=gpu
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=8 RealMemory=$(awk '/MemTotal/{print int($2/1024*0.9)}' /proc/meminfo) Gres=gpu:1 State=UNKNOWN
PartitionName=short Nodes=$HOST Default=YES MaxTime=120 State=UP
PartitionName=long Nodes=$HOST MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=$HOST MaxTime=INFINITE State=UP
CONF
    echo "NodeName=$HOST Name=gpu File=/dev/null" >/etc/slurm/gres.conf # a pretended GPU: it is scheduled, nothing more
    # slurmd of 22.05 wants a cgroup plugin even where nothing uses one
    if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
        printf 'CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\n' >/etc/slurm/cgroup.conf
    else
        echo "CgroupPlugin=cgroup/v1" >/etc/slurm/cgroup.conf
    fi
}

case "${1:-}" in
    start)
        mkdir -p "$STATE"/{ctld,d,log}
        install_packages
        configure
        start_munge
        runs slurmctld || slurmctld
        runs slurmd || slurmd
        wait_for ready
        sinfo
        ;;
    restart)
        end slurmctld
        sleep 3
        slurmctld
        wait_for ready
        ;;
    stop)
        if runs slurmctld; then scancel --user "$(id -un)"; sleep 1; fi # else their processes outlive the daemons
        for daemon in slurmd slurmctld munged; do end $daemon; done
        # With a configuration and no controller, each start of Snakemake would wait 10 s for its answer.
        if grep -qF "$OURS" /etc/slurm/slurm.conf 2>/dev/null; then rm -f /etc/slurm/{slurm,gres,cgroup}.conf; fi
        ;;
    *)
        sed -n 2,7p "$0"
        exit 2
        ;;
esac
