/* The validity words of directory entries (src/wire/validity.h, src/client/paths/directory_cache.h, docs/wire.md, ADR 77).
 * RUN: spin -a validity.pml; gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c; ./pan -m1000000. Verified without error: -DCALLS=3 -DCHANGES=1 (17,057,370 states), -DCALLS=2 -DCHANGES=2 (54,226,208).
 * H: the shard of the entry. D: the shard of the program's node, with a word and an epoch that programs read; for a program of H's own node the two are one
 * process, which is the case in which D answers at once. C: a program that keeps the entry with its word, and the way through it with the epoch. R: a
 * client that renames the directory (a new version). Answers and invalidations travel on two channels: either may overtake the other.
 * Time: `now` ticks at any moment; the program's lease counts from before its question, H's from its answer.
 * Properties: a call never uses a version older than one whose change was answered before it began, nor older than what H had shown anybody then.
 *  With D stopped or dead at any time a change waits until the lease has ended, not longer.
 * Variants that fail: -DEPOCH_AFTER (the epoch grows only after the word: an answer of before is kept with the word of after), -DNO_EPOCH (the word that is
 *  there when the answer comes is kept whatever the epoch), -DWAY_EPOCH_LATE (the way is kept with the epoch read after the word was looked at), -DACK_FIRST,
 *  -DNO_LEASE (the program looks at the word alone), -DLEASE_FROM_ANSWER, -DLOOKUPS_GO_ON (H shows the change while old names are called back). */
#ifndef CALLS
#define CALLS 3
#endif
#ifndef CHANGES
#define CHANGES 2
#endif
#define LEASE 2
#define LAST 6                          /* of the clock; leases are granted while they end before it */
byte ver = 1, now, hlease, answered = 1, seen = 1;
bool changing, stopped, over;
byte word, epoch;
chan question = [1] of { bit };        /* C -> D -> H: D passes it on at once */
chan answer = [1] of { byte, bool };   /* H -> D -> C: version, granted */
chan inv = [1] of { byte };            /* with a number, which is acknowledged */
chan ack = [CHANGES] of { byte };

proctype clock() { do :: now < LAST && !over -> now++ :: over || now == LAST -> break od }
proctype stopper() { if :: stopped = 1 :: skip fi }

inline grant() { if :: now + LEASE <= LAST -> hlease = now + LEASE; answer!ver,1 :: else -> answer!ver,0 fi }

proctype H() {
  do
#ifdef LOOKUPS_GO_ON
  :: atomic { nempty(question) -> question?_; grant(); if :: ver > seen -> seen = ver :: else fi }
#else
  :: atomic { nempty(question) && !changing -> question?_; grant(); if :: ver > seen -> seen = ver :: else fi }
#endif
  :: over -> break
  od }

/* Somebody else looks the entry up at H. */
proctype other() {
  do
#ifdef LOOKUPS_GO_ON
  :: d_step { ver > seen -> seen = ver }
#else
  :: d_step { ver > seen && !changing -> seen = ver }
#endif
  :: over -> break
  od }

proctype D() { byte n;
  do
  :: atomic { !stopped && nempty(inv) -> inv?n };
#ifdef ACK_FIRST
     ack!n;
#endif
#ifndef EPOCH_AFTER
     if :: atomic { !stopped -> epoch++ } :: stopped -> break fi;
#endif
     if :: atomic { !stopped -> word++ } :: stopped -> break fi;
     if :: atomic { !stopped -> epoch++ } :: stopped -> break fi;
#ifndef ACK_FIRST
     if :: atomic { !stopped -> ack!n } :: stopped -> break fi
#endif
  :: over || stopped -> break
  od }

proctype R() { byte n, a;
  do
  :: n < CHANGES && !over -> n++;
     atomic { changing = 1; ver++ };
     if
     :: hlease > now -> inv!n;
        do
        :: atomic { nempty(ack) -> ack?a; if :: a == n -> hlease = 0; break :: else fi }
        :: atomic { now >= hlease || over -> hlease = 0; break }
        od
     :: else
     fi;
     if :: over -> break :: else fi;
     d_step { answered = ver; changing = 0 };
     d_step { if :: nempty(inv) -> inv?_ :: else fi }
  :: over || n == CHANGES -> break
  od }

proctype C() { byte n, got, tag, e, e0, at, lo, until, way_e; bool have, way, granted;
  do
  :: n < CALLS -> n++;
     d_step { lo = answered; if :: seen > lo -> lo = seen :: else fi };
     e = epoch;
#ifdef NO_LEASE
     if :: way && e == way_e -> goto use :: else fi;
#else
     if :: way && e == way_e && now < until -> goto use :: else fi;
#endif
     way = 0;
     if
#ifdef NO_LEASE
     :: have && word == tag ->
#else
     :: have && word == tag && now < until ->
#endif
#ifdef WAY_EPOCH_LATE
        e = epoch;
#endif
        way = 1; way_e = e;
        goto use
     :: else
     fi;
     have = 0;
     e0 = epoch; at = now;
     if :: question!1 :: stopped -> break fi;
     if :: answer?got,granted :: stopped -> break fi;
#ifdef LEASE_FROM_ANSWER
     at = now;
#endif
     tag = word;
#ifdef NO_EPOCH
     if :: granted -> have = 1; until = at + LEASE :: else fi;
#else
     if :: epoch == e0 && granted -> have = 1; until = at + LEASE :: else fi;
#endif
     assert(got >= lo);
     goto next;
use: assert(got >= lo);
     d_step { if :: got > seen -> seen = got :: else fi };
next: skip
  :: n == CALLS -> break
  od;
  over = 1 }

init { atomic { run clock(); run stopper(); run H(); run other(); run D(); run C(); run R() } }
