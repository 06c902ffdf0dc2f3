/* Lanes of the node door (src/door, ADR 47): request and reply in shared memory, one lane per client thread, one server thread.
 * RUN: spin -a -DREQS=2 lanes.pml; gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c; ./pan -m2000000. Verified: 4,051,044 states, depth 478, no error.
 * A client whose lane says that the server does not look rings again after each wait that ended by its time, so the fences only decide how soon
 * a wake-up comes: NO_CFENCE, NO_SFENCE, NO_RFENCE and NO_RECHECK have no error either. -DBODY_LATE and -DNO_RERING fail.
 * Two processes are attached, each sends REQS calls. Stores of both sides go through store buffers
 * (x86-TSO) that drain at any time. A client is killed at any step (KILLS), a stopped one is not scheduled.
 *   Lane: req (sequence, written by the client), body, rep (sequence, written by the server), answer, csleep; server: ssleep (one per lane), bell.
 * Properties: S1 every reply taken belongs to the call, computed from its body; S2 each call is executed at most once, and never from a half-written body;
 *  S3 no lost wake-up: no deadlock with a living client that waits (invalid end state); S5 a dead or silent client stops nobody (the server has no wait on a client).
 * Broken variants: -DNO_CFENCE (client: no full fence between publishing and looking whether the server sleeps), -DNO_SFENCE (server, going to sleep),
 *  -DNO_RFENCE (server: none between reply and looking whether the client sleeps), -DNO_RECHECK (server sleeps without a second look),
 *  -DBODY_LATE (sequence before body),
 *  -DHOSTILE (a scribbler writes anything into lane 0 at any time: must NOT fail; with -DTRUST (server uses the body twice, check then use) it does). */
#ifndef REQS
#define REQS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define NL 2
byte req[NL], body[NL], rep[NL], ans[NL];
bool csleep[NL], ssleep[NL], attached[NL], closed[NL], die[NL], mapped[NL];
byte done[NL];                                 /* ghost: highest sequence executed */
byte fin, kills = KILLS;
byte mine[NL];                                 /* bells of the sessions: who rang */
bool cwaits[NL], swaits;                       /* in FUTEX_WAIT */
mtype = { REQ, BODY, CSL, REP, ANS, SSL0, SSL1 };
chan cb[NL] = [3] of { mtype, byte };          /* store buffers of the clients */
chan bs = [3] of { mtype, byte, byte };        /* of the server: what, lane, value */

proctype cdrain(byte l) { mtype w; byte v;
end: do :: atomic { cb[l]?w,v -> if :: w==REQ -> req[l]=v :: w==BODY -> body[l]=v :: else -> csleep[l]=v fi; v=0; w=0 } od }
proctype sdrain() { mtype w; byte l, v;
end: do :: atomic { bs?w,l,v -> if :: w==REP -> rep[l]=v :: w==ANS -> ans[l]=v :: else -> ssleep[l]=v fi; v=0; l=0; w=0 } od }

/* body of call n of lane l is 10*(l+1)+n; its answer the same + 100 */
#define B(l,n) (10*(l+1)+(n))
proctype client(byte l) { byte n; byte old;
  { attached[l]=1;
    do :: n<REQS -> n++; old=n-1;
#ifdef BODY_LATE
      cb[l]!REQ,n; cb[l]!BODY,B(l,n);
#else
      cb[l]!BODY,B(l,n);
      cb[l]!REQ,n;                              /* release */
#endif
#ifndef NO_CFENCE
      empty(cb[l]);                             /* full fence */
#endif
      if :: ssleep[l] -> mine[l]++; swaits=0    /* own bell, then FUTEX_WAKE: lost when the server does not wait yet */
         :: else fi;
      do :: rep[l]==n -> break                  /* acquire; spinning while the progress word moves is a repetition of this */
         :: rep[l]!=n -> cb[l]!CSL,1; empty(cb[l]);          /* sequentially consistent */
            atomic { if :: rep[l]!=n -> cwaits[l]=1 :: else fi };  /* FUTEX_WAIT(&rep, old): the kernel compares under its lock */
            do :: !cwaits[l] -> break
#ifndef NO_RERING
               :: cwaits[l] && ssleep[l] && swaits -> swaits=0     /* the wait ends by its time: ring again */
#endif
            od; cb[l]!CSL,0
      od;
      assert(ans[l]==100+B(l,n))                /* S1 */
      :: else -> break
    od;
    closed[l]=1 } unless { die[l] };
  atomic { empty(cb[l]) -> closed[l]=1; mapped[l]=0; fin++; cwaits[l]=0; n=0; old=0 } }

proctype killer() { do :: atomic { kills>0 && fin<NL -> kills--; if :: die[0]=1 :: die[1]=1 fi } :: break od }
#ifdef HOSTILE
proctype scribbler() { byte k; do :: k<3 -> k++; if :: body[0]=77 :: body[0]=11 :: req[0]=req[0]+1 :: rep[0]=rep[0]+1 :: csleep[0]=1-csleep[0] :: swaits=0 fi :: else -> break od; atomic { closed[0]=1; fin++ } }
#endif

byte seen[NL];                                 /* the server's own copy of the sequence, never read back from shared memory */
inline serve(l) {
  r = req[l];                                   /* acquire */
  if :: r!=seen[l] && !closed[l] ->
       did=1; 
#ifdef HOSTILE
       seen[l]=r;
#else
       assert(r==seen[l]+1); seen[l]=r;         /* one call outstanding per lane */
#endif
       x = body[l];                             /* copied once, then checked */
#ifdef TRUST
       if :: (x/10==l+1) -> x=body[l]; assert(x/10==l+1) :: else -> x=0 fi;   /* checked in place, then used */
#endif
       if :: (x/10==l+1) ->
#ifdef HOSTILE
            if :: l==1 -> assert(x==B(l,r) && done[l]==r-1) :: else -> assert(x/10==l+1) fi;
#else
            assert(x==B(l,r) && done[l]==r-1);  /* S2 */
#endif
            done[l]=r
          :: else ->
#ifndef HOSTILE
            assert(false);
#endif
            x=0
       fi;
       bs!ANS,l,100+x; bs!REP,l,r;              /* release; the value comes from private memory */
#ifndef NO_RFENCE
       empty(bs);
#endif
       if :: csleep[l] -> cwaits[l]=0 :: else fi   /* FUTEX_WAKE */
  :: else fi }

proctype server() { byte r, x; bool did;
  do
  :: did=0; serve(0); r=0; x=0; serve(1); r=0; x=0;
     if :: did :: !did && true -> skip
        :: !did && fin<NL ->                    /* go to sleep */
           bs!SSL1,0,1; bs!SSL1,1,1;
#ifndef NO_SFENCE
           empty(bs);
#endif
#ifndef NO_RECHECK
           if :: (req[0]!=seen[0] && !closed[0]) -> did=1 :: else fi;
           if :: (req[1]!=seen[1] && !closed[1]) -> did=1 :: else fi;
#endif
           if :: !did -> swaits=1; (!swaits || fin==NL)   /* FUTEX_WAIT: the word is always 0; the end of a session wakes too */
              :: else fi;
           bs!SSL0,0,0; bs!SSL0,1,0
        :: !did && fin==NL -> break
     fi
  od }

init { atomic { mapped[0]=1; mapped[1]=1; run cdrain(0); run cdrain(1); run sdrain(); run client(1); run server(); run killer();
#ifdef HOSTILE
  run scribbler()              /* is the client of lane 0 */
#else
  run client(0)
#endif
 } }
