/* Who drives a client, and who borrows from it (src/client/driver.*, ADR 82): the bits of lead_, each read-modify-write atomic, the mutex with the queue of
 * those who sleep, two callers, two borrowers that try once, and the helper thread. Sequentially consistent.
 * RUN: ./run-sizes.sh, or: spin -a lead.pml; gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c; ./pan -m300000
 * Properties: at most one at a time touches what belongs to the reactor's thread; who sleeps is woken; in the end no bit is left.
 * Broken variants, caught: -DNO_WAIT (who drives does not wait for the borrower), -DANY_TIME (borrowed also when it is not lent). */
#define NC 2
bool driven, lent, borrowed, wanted, followed, hsbit;
bool mutex, helper_sleeps; byte woken;
byte inside;            /* who touches the reactor's things */
byte nfol; bool queued[NC]; byte state[NC]; /* 0 handed over 1 promoted 2 done */
byte finished;
#define LOCK atomic { !mutex -> mutex=1 }
#define UNLOCK mutex=0
inline enter() { atomic { assert(inside==0); inside++ } }
inline leave() { inside-- }
#ifdef NO_WAIT
#define WAIT skip
#else
#define WAIT (!borrowed)
#endif
inline lend() { leave(); lent=1; if :: skip :: skip fi; atomic { lent=0; wanted=0 }; WAIT; enter() }
inline handover() {
  if :: nfol==0 -> atomic { assert(driven && !lent && !borrowed); driven=0; lent=0; borrowed=0; wanted=0; followed=0; hsbit=helper_sleeps }
     :: else -> if :: queued[0] -> atomic { queued[0]=0; nfol--; state[0]=1 } :: queued[1] -> atomic { queued[1]=0; nfol--; state[1]=1 } fi fi }
inline endlead(q) {
  atomic { q=0; if :: !followed && !hsbit && !lent && !borrowed && driven -> driven=0; wanted=0; q=1 :: else fi };
  if :: q -> skip :: else -> LOCK; if :: helper_sleeps -> helper_sleeps=0; woken=1 :: else fi; handover(); UNLOCK fi }
inline finish_other(me) { /* a leader ends the other's job */
  if :: true -> skip
     :: atomic { !mutex && state[1-me]==0 && queued[1-me] -> mutex=1 } if :: queued[1-me] && state[1-me]==0 -> atomic { queued[1-me]=0; nfol--; state[1-me]=2 } :: else fi; UNLOCK
  fi }
inline work(me) { enter(); 
  do :: lend() :: wanted -> lend() :: finish_other(me) :: break od; leave() }
proctype caller(byte me) { bool q;
  /* call(): in place */
  atomic { if :: !driven -> driven=1; q=1 :: else -> q=0 fi };
  if :: q -> WAIT; work(me); endlead(q); goto fin :: else fi;
  /* follow(): one look, then under the mutex */
  atomic { if :: !driven -> driven=1; q=1 :: else -> q=0 fi };
  if :: q -> WAIT; work(me); endlead(q); goto fin :: else fi;
  LOCK;
  atomic { if :: !driven -> driven=1; q=1 :: else -> followed=1; q=0 fi };
  if :: q -> UNLOCK; WAIT; work(me); endlead(q); goto fin :: else fi;
  atomic { queued[me]=1; nfol++ }; UNLOCK;
  atomic { state[me]!=0 -> skip }; LOCK; UNLOCK;
  if :: state[me]==1 -> work(me); endlead(q) :: else fi;
fin: finished++ }
#ifdef ANY_TIME
#define MAY_BORROW true
#else
#define MAY_BORROW (!driven || lent)
#endif
proctype borrower() { bool d; byte n;
  do :: n<1 -> n++;
    /* begin_soon: the look and the fetch_or are two steps */
    if :: true -> d=(driven && !lent && !wanted); if :: d -> wanted=1 :: else fi :: skip fi;
    atomic { if :: !borrowed && MAY_BORROW -> borrowed=1; wanted=0; d=1 :: else -> d=0 fi };
    if :: d -> enter(); leave(); borrowed=0 :: else fi
  :: else -> break od; finished++ }
proctype helper() { bool q; byte n;
  do :: n<1 -> n++; LOCK;
     atomic { if :: !driven -> driven=1; q=1 :: else -> q=0 fi };
     if :: q -> UNLOCK; WAIT; enter(); leave(); LOCK; helper_sleeps=(nfol==0);
           q=(nfol!=0); handover();
           if :: !q -> UNLOCK; if :: skip :: atomic { woken==1 -> woken=0 } fi; LOCK; helper_sleeps=0; UNLOCK :: else -> UNLOCK fi
        :: else -> UNLOCK fi
  :: else -> break od; finished++ }
init { atomic { run caller(0); run caller(1); run borrower(); run borrower(); run helper() };
  (finished==5); assert(!driven && !borrowed && !lent && inside==0 && nfol==0) }
