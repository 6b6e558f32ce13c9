#!/usr/bin/env bash
# The machine on which the cluster runs: machine.sh ROOT HOME DATA CTLD_PORT SLURMD_PORT
#
# Runs as process 1 of namespaces of its own (run starts it so), which take every mount and every
# process with them when it ends.  ROOT is a Debian with Slurm and Apptainer, HOME and DATA become
# /home/sdss and /data there.  /run/ready appears when jobs can be submitted.
set -euo pipefail
root=$1 home=$2 data=$3 ctld_port=$4 slurmd_port=$5

mount --bind "$root" "$root"
cd "$root"
mount --rbind /proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=755 tmpfs dev
# An ordinary user mounts images with FUSE, as on a cluster; the outer machine's node stays as it is.
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 fuse:10:229; do
    IFS=: read -r name major minor <<<"$node"
    mknod -m 666 "dev/$name" c "$major" "$minor"
done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for folder in dev/shm tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$folder"; done
for folder in run var/lib/slurm var/log var/spool; do
    mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mount --bind "$home" home/sdss
mount --bind "$data" data
# Not the cached root itself: the program must not be able to count on what it wrote there.
mkdir run/old
mount -o remount,bind,ro .
pivot_root . run/old
umount -l /run/old
cd /

mkdir -p /run/munge /var/lib/munge /var/log/munge /var/lib/slurm/{ctld,d} /run/slurm
chown munge: /run/munge /var/log/munge
cat >/run/slurm/slurm.conf <<CONF
ClusterName=astra
SlurmctldHost=node1
SlurmctldPort=$ctld_port
SlurmdPort=$slurmd_port
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
# A requeued job waits until its old credential has expired; two minutes where this is not set.
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=10
MinJobAge=3600
MaxArraySize=32
StateSaveLocation=/var/lib/slurm/ctld
SlurmdSpoolDir=/var/lib/slurm/d
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.log
NodeName=node1 CPUs=8 RealMemory=32000 State=UNKNOWN
PartitionName=sdss-np Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=/run/slurm/slurm.conf
hostname node1
runuser -u munge -- munged
slurmctld
slurmd
until [[ $(sinfo --noheader --format %T 2>/dev/null) == idle ]]; do sleep 0.2; done
touch /run/ready
# As process 1 it reaps what the daemons leave.
while :; do sleep 3600 & wait "$!"; done
