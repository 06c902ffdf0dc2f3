/* Attributes of one inode in the kernel of a mount, under an exact lease (src/mount/kernel_cache.h, ADR 62).
 * RUN: spin -a kernelcache.pml; gcc -O2 -DSAFETY -o pan pan.c; ./pan -m400000. Verified: 1,715,308 states, depth 84, no error.
 * THREADS programs look the name up and stat; the server changes the attributes CHANGES times, each time after the lease was taken back.
 * The kernel may drop the inode at any time (eviction); its FORGET may be read after later requests. Answers of the server and its
 * revocation overtake each other; an answer of the mount is taken up any time later.
 *   Kernel: known, value, valid (may use it), fver (fi->attr_version), nlookup; ever, evicts: counters of the connection (attr_version, evict_ctr).
 *   Mount: core (what it may use itself, 0: nothing), cver (grows when something is forgotten), told (answers that the kernel has not forgotten).
 * Property: what the kernel may use without asking is what the server has.
 * Variants that fail: -DNO_AGAIN (acknowledges when the kernel does not know the inode), -DNO_FORGETS (what the kernel forgets is not counted: the change
 *  never happens), -DNO_GATE (the core keeps an answer that a revocation overtook), -DOLD_KERNEL (a kernel without evict_ctr), also with
 *  -DONLY_UNKNOWN (such a kernel may use only what comes with the first name of an inode). So those get no time with a name. */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef LOOKUPS
#define LOOKUPS 2
#endif
#ifndef EVICTS
#define EVICTS 2
#endif
byte value = 1;                                     /* of the server */
bool lease, revoking;
bool known, valid; byte kvalue, fver, ever = 1, nlookup, evicts;
byte core, cver, told;
chan forgets = [EVICTS] of { byte };
chan revocation = [1] of { bit };
chan ack = [1] of { bit };

/* The kernel takes up an answer: of `what`, which it may use if `trusted`; asked when the counters were these. */
inline take_up(what, trusted, aver, aevicts) {
  if :: known ->
        nlookup++;
        if :: fver > aver -> skip                   /* changed since it was asked for: not used */
           :: else -> kvalue = what; valid = trusted; fver = ever fi
     :: else ->
        known = 1; nlookup = 1; kvalue = what; fver = ever;
#ifdef OLD_KERNEL
        valid = trusted
#else
        valid = (trusted && aevicts == evicts)
#endif
  fi
}

proctype program() { byte n, aver, aevicts, got, question; bool granted, trusted;
  do :: n == LOOKUPS -> break
     :: n < LOOKUPS -> n++;
        atomic { aver = ever; aevicts = evicts; question = cver }                         /* LOOKUP arrives at the mount */
        if :: atomic { core != 0 -> got = core; goto answer }                             /* from the core */
           :: atomic { core == 0 -> skip }
        fi;
        atomic { got = value; granted = !revoking; if :: granted -> lease = 1 :: else fi }  /* the server answers */
        atomic {                                                                          /* the answer arrives */
#ifdef NO_GATE
          if :: granted -> core = got
#else
          if :: granted && cver == question -> core = got
#endif
             :: else fi;
answer:   trusted = (core == got && core != 0);
#ifdef ONLY_UNKNOWN
          trusted = trusted && told == 0;
#endif
          told++ }                                                                        /* the mount answers the kernel */
        atomic { take_up(got, trusted, aver, aevicts); got = 0; granted = 0; trusted = 0; aver = 0; aevicts = 0; question = 0 }
  od }

proctype eviction() { byte n;
  do :: n == EVICTS -> break
     :: atomic { n < EVICTS && known -> n++; known = 0; valid = 0; evicts++; forgets!nlookup; nlookup = 0 }
     :: atomic { n < EVICTS -> n = EVICTS }          /* it may stay */
  od }

proctype mount() {
end:
  do :: atomic { revocation?1 -> core = 0; cver++ }
again:  atomic { if :: known -> fver = ever + 1; ever++; valid = 0; ack!1; goto end       /* INVAL_INODE */
#ifdef NO_AGAIN
                    :: !known -> ack!1; goto end
#else
                    :: !known && told == 0 -> ack!1; goto end
#endif
                 fi }
  od }
/* FORGETs are read while a revocation waits. */
proctype forgetting() { byte n;
end:
  do :: atomic { forgets?n ->
#ifndef NO_FORGETS
        told = told - n;
#endif
        n = 0 }
  od }

proctype server() { byte n;
  do :: n == CHANGES -> break
     :: n < CHANGES -> n++;
        if :: atomic { lease -> revoking = 1; revocation!1 }
              atomic { ack?1 -> lease = 0; revoking = 0; value++ }
           :: atomic { !lease -> value++ }
        fi
  od }

init { byte i; atomic {
  do :: i < THREADS -> run program(); i++ :: i == THREADS -> break od;
  run eviction(); run mount(); run forgetting(); run server() } }

active proctype monitor() {
end:
  atomic { known && valid && kvalue != value -> assert(false) }
}
