#!/bin/bash
# run-sizes.sh [SECONDS]: checks sizes, opens, writeloans, slotreads, forward and lead.pml with Spin 6.5 (apt-get install spin gcc); every configuration at most SECONDS (default 170).
# Prints one line each: good ones must say "errors: 0", broken ones (names beginning with broken_) "assertion violated" or "invalid end state".
command -v spin >/dev/null || { echo "run-sizes: spin is not installed (apt-get install spin gcc)" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd); T=${1:-170}; W=$(mktemp -d); trap 'rm -rf "$W"' EXIT
one() { # NAME FILE FLAGS...
  n=$1 f=$2; shift 2; mkdir -p "$W/$n"; cd "$W/$n" || exit; cp "$here/$f" .
  r=-DNOREDUCE; case $f in writeloans.pml|slotreads.pml|forward.pml|lead.pml) r=-DREDUCED;; esac
  spin -a "$@" "$f" >spin.out 2>&1 && gcc -O2 -w -DSAFETY "$r" -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c && timeout "$T" ./pan -m300000 >out 2>&1; rc=$?
  echo "$n: $([ $rc = 124 ] && echo "NOT FINISHED in $T s ") $(sed -n 's/^pan:1: //p' out) $(grep -o 'errors: .*' out) $(grep -o '[0-9]* states, stored' out) $(grep -o 'elapsed time.*' out)   [$*]"; }
Z="LOSSES STOPS FORGETS DEATHS EXPIRES EARLY STATS BREAKS DUPS UNLINKS TRUNCS WRITES1"
f() { n=$1; shift; z=(); for k in $Z; do case " $* " in *" -D$k="*) ;; *) z+=("-D$k=0");; esac; done; one "$n" sizes.pml "${z[@]}" "$@"; }
l() { n=$1; shift; one "$n" writeloans.pml "$@"; }
l loans_one -DWRITERS=1
l loans_two -DOPS=1 -DWRITES=1 -DKILLS=0
l loans_threads -DTHREADS -DOPS=1 -DWRITES=1 -DKILLS=1
for v in ONE_WORD NO_IN_USE; do l broken_loans_$v -DTHREADS -DOPS=1 -DWRITES=1 -DKILLS=0 -D$v; done
for v in NO_FENCE NO_FENCE2 NO_CHECK2 NO_QUARANTINE IN_PLACE REST_LATE ANY_GENERATION; do l broken_loans_$v -DKILLS=0 -DWRITERS=1 -D$v; done
l broken_loans_NO_BLOCK -DOPS=3 -DKILLS=0 -DWRITERS=1 -DWRITES=1 -DNO_BLOCK
one reads slotreads.pml; one reads_four slotreads.pml -DOPS=4
for v in NO_RECHECK OLD_GENERATION CUT_SAME END_FIRST FILL_SHOWN; do one broken_reads_$v slotreads.pml -D$v; done
for v in IN_PLACE NO_PIN; do one broken_reads_$v slotreads.pml -DOPS=4 -DREADS=1 -D$v; done
one forward forward.pml; one forward_late forward.pml -DLATES=1 -DBREAKS=0; one forward_frozen forward.pml -DFREEZE=1; one forward_two_breaks forward.pml -DBREAKS=2 -DEVICTS=0
for v in KEEP_CALLS NO_END NO_CARRIER_END NO_HISTORY; do one broken_forward_$v forward.pml -D$v; done
one broken_forward_NO_GIVE_UP forward.pml -DNO_GIVE_UP -DPATIENCE=0; one broken_forward_ANY_CALL forward.pml -DLATES=1 -DANY_CALL
one broken_forward_NO_LATE forward.pml -DFREEZE=1 -DNO_LATE -DPATIENCE=0
one lead lead.pml; for v in NO_WAIT ANY_TIME; do one broken_lead_$v lead.pml -D$v; done
one opens opens.pml; for v in NO_RECONCILE LATE_OPEN COUNTS; do one broken_opens_$v opens.pml -D$v; done
f broken_today_forgotten -DTODAY -DFORGETS=1
f broken_today_cut -DTODAY -DTRUNCS=1 -DBREAKS=1
f broken_today_killed -DTODAY -DDEATHS=1 -DSTOPS=1
f broken_today_unlink -DTODAY -DUNLINKS=1 -DSTOPS=1
f broken_stamp -DNO_STAMP -DDEATHS=1 -DFORGETS=1 -DWRITES1=1
f broken_repeat -DNO_REPEAT -DLOSSES=1 -DEARLY=1
f broken_forget_mark -DNO_FORGET_MARK -DEARLY=1 -DBREAKS=1
f broken_under_way -DNO_UNDER_WAY -DEARLY=1
f broken_epoch -DNO_EPOCH -DTRUNCS=1 -DDUPS=1
f broken_overtake -DNO_OVERTAKE -DTRUNCS=1 -DBREAKS=1
f broken_reply_check -DNO_REPLY_CHECK -DUNLINKS=1 -DFORGETS=1
f broken_owed_reply -DNO_OWED_REPLY -DTRUNCS=1 -DEARLY=1
f broken_trust -DNO_TRUST -DUNLINKS=1 -DFORGETS=1
f broken_barrier -DNO_BARRIER -DCRASHES=1
f broken_retry -DNO_RETRY -DUNLINKS=1 -DSTOPS=1
f settle_death -DDEATHS=1 -DFORGETS=1 -DSTATS=2 -DEARLY=1
f settle_lost -DLOSSES=1 -DEARLY=1 -DDUPS=1 -DDEATHS=1 -DEXPIRES=1
f settle_lost_cut -DWRITES0=1 -DLOSSES=1 -DEARLY=1 -DDUPS=1 -DTRUNCS=1 -DWRITES1=1
f two_writers_cut -DWRITES0=1 -DWRITES1=1 -DTRUNCS=1 -DDUPS=1 -DBREAKS=1
f cut_breaks_dups -DTRUNCS=1 -DDUPS=1 -DBREAKS=1 -DEARLY=1
f cut_death_stat -DWRITES0=1 -DWRITES1=1 -DTRUNCS=1 -DDEATHS=1 -DSTATS=1
f two_cuts -DTRUNCS=2 -DEARLY=1 -DDUPS=1
f cut_expiry_stat -DTRUNCS=1 -DEXPIRES=1 -DEARLY=1 -DSTATS=1
f unlink_forgotten -DUNLINKS=1 -DFORGETS=1 -DDUPS=1 -DBREAKS=1
f unlink_death -DUNLINKS=1 -DDEATHS=1 -DWRITES0=1 -DWRITES1=1 -DBREAKS=1 -DDUPS=1
f unlink_cut -DTRUNCS=1 -DUNLINKS=1 -DWRITES0=1 -DWRITES1=1 -DFORGETS=1 -DEXPIRES=1
f crash -DCRASHES=1 -DEXPIRES=1 -DBREAKS=1 -DDUPS=1
f crash_cut -DTRUNCS=1 -DCRASHES=1 -DDUPS=1
f stops -DSTOPS=2 -DTRUNCS=1 -DUNLINKS=1 -DFORGETS=1 -DWRITES0=1
f free_supersedes_cut -DSUPERSEDE -DTRUNCS=1 -DUNLINKS=1 -DFORGETS=1 -DDUPS=1
f free_supersedes_cut_death -DSUPERSEDE -DTRUNCS=1 -DUNLINKS=1 -DDEATHS=1 -DEXPIRES=1 -DWRITES0=1 -DWRITES1=1
