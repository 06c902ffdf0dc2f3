/* sizes.pml: who knows how long a file is (protocol-sizes.md, parts 1, 2 and 5).
 *
 * One inode, its home, two chunk shards (shard s stores block s, so its end is s+1), two clients. Every event is one
 * atomic step; messages that are under way are explicit state, unordered, and may be delivered twice (DUPS: a connection
 * broke, the message was sent again, the first copy was still being served). Shards stand still and go on (STOPS);
 * clients lose connections (BREAKS), are forgotten by the home while they live (FORGETS), die (DEATHS); a shard loses its
 * trust in the home (EXPIRES); the home dies and starts again without its memory (CRASHES).
 *
 * Checked in every state:
 *   I1  a byte that is stored is known to the home: its shard is marked there, or the settled size covers it
 *   I2  an acknowledged write is stored, and stat sees it, unless a truncation overlapped or followed it
 *   I3  bytes cut by a finished truncation do not come back (no write call overlaps or followed it); when it finishes
 *       no shard holds a byte that it held when it began
 *   I4  no write call that began after the inode was gone is acknowledged
 *   I5  a stat that takes time (ask the marked shards, sum up) shows every write that was acknowledged before it
 *       began, and size 0 if the file was cut before and not written since
 * and when nothing can happen any more:
 *   I6  no call hangs, nothing is owed, no space of a gone inode is left, no shard is marked once all have closed
 *
 * Not modelled: sizes within a chunk, truncations to other sizes than 0, the query before a cut, append's reservation,
 * renewal of a mark in the background (the same message), time itself (a mark may expire at any moment; the home relies
 * on expiry only where the model requires it).
 *
 * Run:  spin -a sizes.pml && gcc -O2 -DSAFETY -DNOREDUCE -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c && ./pan -m200000
 * Broken variants (each must end in an assertion, see run-sizes.sh):  spin -DTODAY -a sizes.pml ... and
 *   -DNO_STAMP -DNO_UNDER_WAY -DNO_EPOCH -DNO_OVERTAKE -DNO_REPLY_CHECK -DNO_OWED_REPLY -DNO_TRUST -DNO_BARRIER
 *   -DNO_RETRY -DNO_REPEAT -DNO_FORGET_MARK
 * What was verified: results-sizes.txt beside this file.
 */
#ifndef WRITES0
#define WRITES0 2
#endif
#ifndef WRITES1
#define WRITES1 1
#endif
#ifndef TRUNCS
#define TRUNCS 1
#endif
#ifndef UNLINKS
#define UNLINKS 1
#endif
#ifndef BREAKS
#define BREAKS 1
#endif
#ifndef DUPS
#define DUPS 1
#endif
#ifndef STOPS
#define STOPS 1
#endif
#ifndef FORGETS
#define FORGETS 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef EXPIRES
#define EXPIRES 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef EARLY
#define EARLY 1    /* settles while somebody has the file open */
#endif
#ifndef STATS
#define STATS 1
#endif
#ifndef LOSSES
#define LOSSES 1   /* answers to a settle that are lost */
#endif

#define ALIVE 0
#define CUT   1
#define DYING 2
#define GONE  3
#define GONE_BIT 7           /* a Cut with the flag `gone` */
#define BIT(n) (1 << (n))

/* --- home --- */
byte st = ALIVE;             /* CUT, DYING: the inode is locked, whoever asks waits */
bit serving = 1;
byte size = 0;               /* settled */
byte tr = 0;                 /* number of truncations */
byte dirty[2];               /* stamp of the shard's mark, 0: not marked */
bit open[2] = 1;
bit linked = 1;
byte pend = 0;               /* shards that have not acknowledged the cut */
byte cutE = 0;
bit seOut[2];                /* a settle is asked */
byte seTr[2]; bit seQ[2];    /* ghost: nothing of this shard was under way when it was asked, nor since */
/* --- messages under way --- */
byte cutF[2], cutA[2];       /* Cut and its acknowledgement: sets of truncation numbers */
short markF[2];              /* Mark: set of stamps */
bit mrV[2], mrGone[2], mrOwed[2]; byte mrE[2], mrStamp[2];   /* its answer */
bit seF[2], seZ[2];          /* Settle; a late copy of it whose answer nobody waits for */
bit srV[2]; byte srEnd[2], srStamp[2];                       /* its answer */
bit nl[2];                   /* NewLife of the home */
/* --- chunk shards --- */
bit data[2], marked[2], trust[2], stop[2], mkOut[2];
byte applied[2];             /* truncation number */
byte stamp[2], mstamp[2];    /* last mark sent, last mark confirmed */
byte cuts[2], mkCuts[2];     /* cuts applied here, in this life */
/* writes being served: two places a shard, index 2s, 2s+1. 0 free, 1 arrived, 2 checked: its bytes are being stored */
byte slSt[4], slCuts[4]; bit slCur[4], slC[4];
/* --- clients --- */
bit alive[2] = 1, hasH[2] = 1, stale[2], wAct[2], wSend[2], wS[2];
byte wSeq[2]; bit wGone[2];
byte wLeft[2];
/* --- budgets --- */
byte truncs = TRUNCS, unlinks = UNLINKS, breaks = BREAKS, dups = DUPS, stops = STOPS, forgets = FORGETS,
     deaths = DEATHS, expires = EXPIRES, crashes = CRASHES, early = EARLY, stats = STATS, losses = LOSSES;
/* --- ghosts --- */
byte trBegun = 0; bit must[2], cutdone[2], touched[2], old[2];   /* touched: a write call overlaps the truncation */
/* --- a stat under way at the home --- */
bit sOn; byte sLeft, sMax, sBegun, sNeed, sZero; byte cutBegun = 0;

#define HOLDERS ((((size > 0) || dirty[0]) -> 1 : 0) | (((size > 1) || dirty[1]) -> 2 : 0))
#define OPENED (open[0] || open[1])
#ifdef SUPERSEDE             /* freeing an inode does not wait for a cut under way, it takes its place */
#define MAY_END (st == ALIVE || st == CUT)
#else
#define MAY_END (st == ALIVE)
#endif
#define IDLE(s) (!slSt[2*(s)] && !slSt[2*(s)+1])

inline finish_cut() {
  assert(!old[0] && !old[1]); /* I3: no shard holds a byte that it held when the cut began */
  size = 0; tr = cutE; st = ALIVE;
cutdone[0] = !touched[0]; cutdone[1] = !touched[1]
}

inline accept(c) {           /* a copy of c's write reaches its shard */
  seQ[wS[c]] = 0;
  if
  :: !slSt[2*wS[c]]   -> i = 2*wS[c]
  :: else             -> i = 2*wS[c]+1
  fi;
  slSt[i] = 1; slCur[i] = 1; slC[i] = c; slCuts[i] = cuts[wS[c]]; wSend[c] = 0;
  i = 0;
}

inline ack(c, s) {
  wAct[c] = 0;
  if :: alive[c] ->
    assert(!wGone[c]);                                                            /* I4 */
    if :: st == ALIVE && serving && wSeq[c] == trBegun -> must[s] = 1 :: else fi
  :: else fi;
}

inline serve(i, s) {
  if
#if !defined(NO_OVERTAKE) && !defined(TODAY)
  :: slCuts[i] != cuts[s] ->                 /* a cut overtook it: busy, the client sends it again */
     slSt[i] = 0;
     if :: slCur[i] && alive[slC[i]] -> wSend[slC[i]] = 1 :: slCur[i] && !alive[slC[i]] -> wAct[slC[i]] = 0 :: else fi
  :: slCuts[i] == cuts[s] &&
#else
  ::
#endif
     slSt[i] == 2 -> data[s] = 1; slSt[i] = 0;
     if :: slCur[i] -> ack(slC[i], s) :: else fi
#ifdef TODAY
  :: slSt[i] == 1 -> slSt[i] = 2
#else
#ifdef NO_OVERTAKE
  :: slSt[i] == 1 && marked[s] && trust[s] -> slSt[i] = 2
  :: slSt[i] == 1 && !(marked[s] && trust[s]) && !mkOut[s] && stamp[s] < 9 ->
#else
  :: slCuts[i] == cuts[s] && slSt[i] == 1 && marked[s] && trust[s] -> slSt[i] = 2
  :: slCuts[i] == cuts[s] && slSt[i] == 1 && !(marked[s] && trust[s]) && !mkOut[s] && stamp[s] < 9 ->
#endif
     stamp[s]++; markF[s] = markF[s] | BIT(stamp[s]); mkOut[s] = 1; mkCuts[s] = cuts[s]
#endif
  fi;
  slCuts[i] = (slSt[i] -> slCuts[i] : 0); slCur[i] = (slSt[i] -> slCur[i] : 0); slC[i] = (slSt[i] -> slC[i] : 0);
}
#ifdef TODAY
#define CANSERVE(i, s) (slSt[i] && !stop[s])
#elif defined(NO_OVERTAKE)
#define CANSERVE(i, s) (slSt[i] && !stop[s] && (slSt[i] == 2 || (marked[s] && trust[s]) || (!mkOut[s] && stamp[s] < 9)))
#else
#define CANSERVE(i, s) (slSt[i] && !stop[s] && (slSt[i] == 2 || slCuts[i] != cuts[s] || (marked[s] && trust[s]) || (!mkOut[s] && stamp[s] < 9)))
#endif

inline fail_slot(i) {
  if :: slSt[i] == 1 ->
     slSt[i] = 0;
     if :: slCur[i] -> wAct[slC[i]] = 0; stale[slC[i]] = 1 :: else fi;
     slCuts[i] = 0; slCur[i] = 0; slC[i] = 0
  :: else fi
}

inline home_mark(s, n) {     /* the home answers Mark number n of shard s */
  if :: dups > 0 -> dups-- /* and a copy stays under way */ :: markF[s] = markF[s] & ~BIT(n) fi;
  mrV[s] = 1; mrStamp[s] = n;
  if
  :: st == DYING || st == GONE -> mrGone[s] = 1
  :: else ->
     mrGone[s] = 0;
     if :: dirty[s] < n -> dirty[s] = n :: else fi;
     if :: st == CUT -> mrE[s] = cutE;
#ifdef NO_OWED_REPLY
                        mrOwed[s] = 0
#else
                        mrOwed[s] = 1
#endif
        :: else -> mrE[s] = tr; mrOwed[s] = 0
     fi
  fi
}

inline mark_reply(s) {
  mrV[s] = 0;
  if
  :: mrStamp[s] != stamp[s] || !mkOut[s] -> skip          /* of a call that has ended */
  :: else ->
     mkOut[s] = 0;
     if
     :: mrGone[s] -> marked[s] = 0; fail_slot(2*s); fail_slot(2*s+1)
#ifndef NO_REPLY_CHECK
     :: !mrGone[s] && mkCuts[s] != cuts[s] -> skip        /* from before a cut: mark again */
     :: !mrGone[s] && mkCuts[s] == cuts[s] ->
#else
     :: !mrGone[s] ->
#endif
        if :: mrOwed[s] && mrE[s] > applied[s] -> data[s] = 0; old[s] = 0; cuts[s]++ :: else fi;
        if :: mrE[s] > applied[s] -> applied[s] = mrE[s] :: else fi;
        marked[s] = 1; mstamp[s] = stamp[s]; trust[s] = 1
     fi
  fi;
  mrGone[s] = 0; mrOwed[s] = 0; mrE[s] = 0; mrStamp[s] = 0
}

inline shard_cut(s, e) {
  if :: dups > 0 -> dups-- :: cutF[s] = cutF[s] & ~BIT(e) fi;
  if
  :: e == GONE_BIT -> data[s] = 0; old[s] = 0; marked[s] = 0; cuts[s]++
#ifdef NO_EPOCH
  :: e != GONE_BIT -> data[s] = 0; old[s] = 0; cuts[s]++; applied[s] = e
#else
  :: e != GONE_BIT && e > applied[s] -> data[s] = 0; old[s] = 0; cuts[s]++; applied[s] = e
  :: e != GONE_BIT && e <= applied[s] -> skip
#endif
  fi;
  cutA[s] = cutA[s] | BIT(e)
}

inline home_ack(s, e) {
  cutA[s] = cutA[s] & ~BIT(e);
  if
  :: st == CUT && e == cutE && serving ->
     pend = pend & ~BIT(s);
     if :: pend == 0 -> finish_cut() :: else fi
  :: (st == DYING || st == GONE) && e == GONE_BIT && serving ->
     pend = pend & ~BIT(s);
     if :: pend == 0 && st == DYING -> st = GONE :: else fi
  :: else -> skip
  fi
}

#ifdef NO_UNDER_WAY
#undef IDLE
#define IDLE(s) true
#endif
/* not while a write of the inode is being served; a Mark under way is forgotten with the mark: its answer is ignored */
inline unmark(s) {
#ifdef NO_FORGET_MARK
  if :: IDLE(s) -> marked[s] = 0 :: else fi
#else
  if :: IDLE(s) -> marked[s] = 0; mkOut[s] = 0 :: else fi
#endif
}
/* Unmarked and idle, it answers the last stamp sent as well: the answer that said so before may have been lost. */
inline shard_settle(s) {
  if :: dups > 0 -> dups--; seZ[s] = 1; seQ[s] = 0 :: skip fi;
  seF[s] = 0; srV[s] = 1; srEnd[s] = (data[s] -> s + 1 : 0);
#ifdef NO_REPEAT
  srStamp[s] = ((marked[s] && IDLE(s)) -> mstamp[s] : 0);
#else
  srStamp[s] = (IDLE(s) -> stamp[s] : 0);
#endif
  unmark(s)
}

inline home_settled(s) {
  srV[s] = 0;
  if :: seOut[s] ->
     seOut[s] = 0;
     if :: st == ALIVE && tr == seTr[s] ->
           if :: srEnd[s] > size -> size = srEnd[s] :: else fi;
#ifdef NO_STAMP
           dirty[s] = 0;
#else
           if :: dirty[s] <= srStamp[s] -> dirty[s] = 0 :: else fi;
#endif
           assert(!seQ[s] || !dirty[s])                                           /* I6: a mark ends */
        :: else fi
  :: else fi;
  srEnd[s] = 0; srStamp[s] = 0; seTr[s] = 0; seQ[s] = 0
}

inline die() {               /* the inode has no name and nobody has it open */
  st = DYING; pend = HOLDERS;
  if :: pend & 1 -> cutF[0] = cutF[0] | BIT(GONE_BIT) :: else fi;
  if :: pend & 2 -> cutF[1] = cutF[1] | BIT(GONE_BIT) :: else fi;
  dirty[0] = 0; dirty[1] = 0; size = 0; must[0] = 0; must[1] = 0;
  if :: pend == 0 -> st = GONE :: else fi
}

/* Today: the home believes the opens; one attempt with a deadline for everything else. */
#ifdef TODAY
#define SEEN(s) (OPENED || size > (s))
#else
#define SEEN(s) (dirty[s] || size > (s))
#endif

inline check() {
  if :: st == ALIVE && serving ->
#ifndef TODAY
     assert(!data[0] || SEEN(0)); assert(!data[1] || SEEN(1));                    /* I1 */
#endif
     assert(!must[0] || (data[0] && SEEN(0))); assert(!must[1] || (data[1] && SEEN(1)));   /* I2 */
     assert(!cutdone[0] || !data[0]); assert(!cutdone[1] || !data[1]);            /* I3 */
  :: else fi
}

#define CLIENT_STEPS(c) \
  :: atomic { alive[c] && hasH[c] && !stale[c] && !wAct[c] && wLeft[c] > 0 -> \
       wLeft[c]--; wAct[c] = 1; wSend[c] = 1; \
       if :: wS[c] = 0 :: wS[c] = 1 fi; \
       wSeq[c] = trBegun; wGone[c] = (st == GONE && serving); cutdone[wS[c]] = 0; touched[wS[c]] = 1; \
       if :: st == CUT -> wSeq[c] = 255 :: else fi; check() } \
  :: atomic { wAct[c] && wSend[c] && alive[c] && !stop[wS[c]] && (!slSt[2*wS[c]] || !slSt[2*wS[c]+1]) -> accept(c); check() } \
  :: atomic { breaks > 0 && wAct[c] && !wSend[c] && alive[c] -> breaks--; \
       if :: slSt[2*wS[c]] && slC[2*wS[c]] == c && slCur[2*wS[c]] -> slCur[2*wS[c]] = 0 \
          :: slSt[2*wS[c]+1] && slC[2*wS[c]+1] == c && slCur[2*wS[c]+1] -> slCur[2*wS[c]+1] = 0 :: else fi; \
       wSend[c] = 1 } \
  :: atomic { alive[c] && hasH[c] && !wAct[c] -> hasH[c] = 0; close_by(c); check() } \
  :: atomic { deaths > 0 && alive[c] -> deaths--; alive[c] = 0; if :: wSend[c] -> wSend[c] = 0; wAct[c] = 0 :: else fi } \
  :: atomic { open[c] && serving && MAY_END && (!alive[c] || forgets > 0) -> \
       if :: alive[c] -> forgets-- :: else fi; abandon(c); check() }

#ifdef TODAY
inline close_by(c) {         /* the client's word settles the size: of what it wrote since the last truncation */
  if :: open[c] ->
     if :: data[1] -> size = 2 :: !data[1] && data[0] && size < 1 -> size = 1 :: else fi
  :: else fi;
  open[c] = 0
}
inline abandon(c) {
  open[c] = 0;
  if :: !stop[0] && !stop[1] -> if :: data[1] -> size = 2 :: !data[1] && data[0] && size < 1 -> size = 1 :: else fi
     :: else -> skip         /* "size could not be settled" */
  fi
}
#else
inline close_by(c) { open[c] = 0 }
inline abandon(c) { open[c] = 0 }
#endif

#define SHARD_STEPS(s) \
  :: atomic { CANSERVE(2*s, s) -> serve(2*s, s); check() } \
  :: atomic { CANSERVE(2*s+1, s) -> serve(2*s+1, s); check() } \
  :: atomic { slSt[2*s] == 1 && !slCur[2*s] && !stop[s] -> slSt[2*s] = 0; slCuts[2*s] = 0; slC[2*s] = 0 } /* its bytes do not arrive */ \
  :: atomic { slSt[2*s+1] == 1 && !slCur[2*s+1] && !stop[s] -> slSt[2*s+1] = 0; slCuts[2*s+1] = 0; slC[2*s+1] = 0 } \
  :: atomic { mrV[s] && !stop[s] -> mark_reply(s); check() } \
  :: atomic { (cutF[s] & BIT(1)) && !stop[s] -> shard_cut(s, 1); check() } \
  :: atomic { (cutF[s] & BIT(2)) && !stop[s] -> shard_cut(s, 2); check() } \
  :: atomic { (cutF[s] & BIT(GONE_BIT)) && !stop[s] -> shard_cut(s, GONE_BIT); check() } \
  :: atomic { seF[s] && !srV[s] && !stop[s] -> shard_settle(s); check() } \
  :: atomic { seZ[s] && !stop[s] -> seZ[s] = 0; unmark(s); check() } \
  :: atomic { nl[s] && !stop[s] -> nl[s] = 0; data[s] = 0; old[s] = 0; marked[s] = 0; trust[s] = 0; cuts[s]++; mkOut[s] = 0; mrV[s] = 0; check() } \
  :: atomic { stops > 0 && !stop[s] -> stops--; stop[s] = 1 } \
  :: atomic { stop[s] -> stop[s] = 0 } \
  :: atomic { expires > 0 && trust[s] -> expires--; trust[s] = 0 }

#define HOME_STEPS(s) \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(1)) -> home_mark(s, 1); check() } \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(2)) -> home_mark(s, 2); check() } \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(3)) -> home_mark(s, 3); check() } \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(4)) -> home_mark(s, 4); check() } \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(5)) -> home_mark(s, 5); check() } \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(6)) -> home_mark(s, 6); check() } \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(7)) -> home_mark(s, 7); check() } \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(8)) -> home_mark(s, 8); check() } \
  :: atomic { serving && !mrV[s] && (markF[s] & BIT(9)) -> home_mark(s, 9); check() } \
  :: atomic { cutA[s] & BIT(1) -> home_ack(s, 1); check() } \
  :: atomic { cutA[s] & BIT(2) -> home_ack(s, 2); check() } \
  :: atomic { cutA[s] & BIT(GONE_BIT) -> home_ack(s, GONE_BIT); check() } \
  :: atomic { serving && st == ALIVE && dirty[s] && !seOut[s] && (!OPENED || early > 0) && !srV[s] -> \
       if :: OPENED -> early-- :: else fi; seOut[s] = 1; seF[s] = 1; seTr[s] = tr; \
       seQ[s] = (IDLE(s) && !markF[s] && !mrV[s] && !seZ[s]) } \
  :: atomic { srV[s] && losses > 0 -> losses--; srV[s] = 0; seOut[s] = 0; srEnd[s] = 0; srStamp[s] = 0; seTr[s] = 0; seQ[s] = 0 } \
  :: atomic { srV[s] && serving -> home_settled(s); check() } \
  :: atomic { sOn && (sLeft & BIT(s)) && !stop[s] -> sLeft = sLeft & ~BIT(s); \
       if :: data[s] && sMax < s + 1 -> sMax = s + 1 :: else fi }

/* what the ghosts promise now, for a stat that begins */
inline stat_begin() {
  sBegun = cutBegun; sMax = size; sNeed = 0; sZero = 0;
  if :: must[1] -> sNeed = 2 :: !must[1] && must[0] -> sNeed = 1 :: else fi;
  if :: cutdone[0] && cutdone[1] -> sZero = 1 :: else fi;
#ifdef TODAY
  sLeft = (OPENED -> 3 : 0)
#else
  sLeft = ((dirty[0] -> 1 : 0) | (dirty[1] -> 2 : 0))
#endif
}

/* the answer to a mark counts from when the mark was sent: one still under way has run out as well */
inline too_old(s) {
  if :: mrV[s] && !mrGone[s] -> mrV[s] = 0; mkOut[s] = 0; mrOwed[s] = 0; mrE[s] = 0; mrStamp[s] = 0 :: else fi
}

active proctype world() {
  byte i;
  d_step { wLeft[0] = WRITES0; wLeft[1] = WRITES1 };
end:
  do
  CLIENT_STEPS(0)
  CLIENT_STEPS(1)
  SHARD_STEPS(0)
  SHARD_STEPS(1)
  HOME_STEPS(0)
  HOME_STEPS(1)
  /* client 1 truncates to 0 (its call may end at its deadline; the cut goes on) */
  :: atomic { truncs > 0 && serving && st == ALIVE && (linked || (open[1] && alive[1])) ->
       truncs--; st = CUT; cutE = tr + 1; trBegun++; cutBegun++; must[0] = 0; must[1] = 0; old[0] = data[0]; old[1] = data[1];
       touched[0] = ((wAct[0] && wS[0] == 0) || (wAct[1] && wS[1] == 0)); touched[1] = ((wAct[0] && wS[0] == 1) || (wAct[1] && wS[1] == 1));
#ifdef TODAY
       pend = (OPENED -> 3 : ((size > 0 -> 1 : 0) | (size > 1 -> 2 : 0)));
#else
       pend = HOLDERS;
#endif
       if :: pend & 1 -> cutF[0] = cutF[0] | BIT(cutE) :: else fi;
       if :: pend & 2 -> cutF[1] = cutF[1] | BIT(cutE) :: else fi;
       if :: pend == 0 -> finish_cut() :: else fi; check() }
  :: atomic { unlinks > 0 && serving && linked && MAY_END -> unlinks--; linked = 0 }
  :: atomic { serving && MAY_END && !linked && !OPENED ->
#if defined(TODAY) || defined(NO_RETRY)
       /* one attempt with the caller's deadline */
       st = GONE; must[0] = 0; must[1] = 0;
       if :: !stop[0] -> data[0] = 0 :: else fi; if :: !stop[1] -> data[1] = 0 :: else fi;
       dirty[0] = 0; dirty[1] = 0
#else
       die()
#endif
     }
#ifdef NO_TRUST
  :: atomic { serving && st == DYING -> st = GONE }
#else
  /* what a shard believed has run out by time: it asks before its next write */
  :: atomic { serving && st == DYING && (!(pend & 1) || !trust[0]) && (!(pend & 2) || !trust[1]) ->
       st = GONE; too_old(0); too_old(1) }
#endif
  /* the home dies, and starts again with nothing */
  :: atomic { crashes > 0 && serving -> crashes--; serving = 0; st = GONE; size = 0; dirty[0] = 0; dirty[1] = 0; pend = 0;
       open[0] = 0; open[1] = 0; seOut[0] = 0; seOut[1] = 0; linked = 0; nl[0] = 1; nl[1] = 1; must[0] = 0; must[1] = 0;
       cutdone[0] = 0; cutdone[1] = 0; sOn = 0; sLeft = 0 }
#ifdef NO_BARRIER
  :: atomic { !serving -> serving = 1 }
#else
  :: atomic { !serving && (!nl[0] || !trust[0]) && (!nl[1] || !trust[1]) -> serving = 1; too_old(0); too_old(1) }
#endif
  /* a stat: asks the shards that are marked, sums up; again if a cut began meanwhile */
  :: atomic { stats > 0 && !sOn && serving && st == ALIVE -> stats--; sOn = 1; stat_begin() }
  :: atomic { sOn && sLeft == 0 && serving && (st == ALIVE || st == GONE || st == DYING) ->
       if
       :: st != ALIVE -> sOn = 0
       :: st == ALIVE && sBegun != cutBegun -> stat_begin()
       :: st == ALIVE && sBegun == cutBegun ->
          sOn = 0;
          assert(sMax >= sNeed);                                                  /* I5 */
          assert(!(sZero && cutdone[0] && cutdone[1]) || sMax == 0)
       fi }
  :: else -> break
  od;
  /* quiet */
  if :: stamp[0] == 9 || stamp[1] == 9 -> goto small /* the model is too small for this run; the states before count */ :: else fi;
  assert(!wAct[0] && !wAct[1]);                                                   /* I6 */
  assert(serving && pend == 0 && st != CUT && st != DYING);
  assert(st != GONE || (!data[0] && !data[1]));
  assert(st != ALIVE || OPENED || (!dirty[0] && !dirty[1]));
small: skip
}
