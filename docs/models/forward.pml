/* Forwarding (src/door/channel_link.cc, src/rpc/forwarder.cc, forwarded_links.cc; ADR 69): a program reaches a far shard through the shard of its node.
 * The program makes CALLS calls, each in up to ATTEMPTS attempts; an attempt uses the channel that is open, or opens one. It may give up waiting
 * (PATIENCE times), and in the end says goodbye, or is killed (KILL). The connection between the shards breaks BREAKS times and is made again, the far shard
 * ends sessions (EVICTS), the time of calls passes while they are served (LATES); a process that stands still is not scheduled, and with FREEZE the
 * far shard serves nothing.
 * RUN: ./run-sizes.sh, or: spin -a forward.pml; gcc -O2 -DSAFETY -DREDUCED -DCOLLAPSE -o pan pan.c; ./pan -m2000000
 * Properties: F1 a call is executed at most once. F2 the program waits for nothing that never comes (invalid end state). F3 each lane is answered once.
 *  F4 in the end nothing is left of the program: no channel, no call, no link.
 * Broken variants, all caught: -DNO_GIVE_UP (a break leaves the calls unanswered), -DKEEP_CALLS (so does a channel that the far shard ends),
 *  -DANY_CALL (a reply is passed on though its call was given up), -DNO_LATE (with FREEZE: late calls are not given up),
 *  -DNO_END (the far shard is not told of a channel's end), -DNO_CARRIER_END (links outlive the connection they came by), -DNO_HISTORY (the far shard does not
 *  know a call that comes again).
 * Verified: 1,639,387 states; -DLATES=1 -DBREAKS=0: 585,680; -DFREEZE=1: 572,050; -DBREAKS=2 -DEVICTS=0: 4,058,305. */
#ifndef CALLS
#define CALLS 2
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef BREAKS
#define BREAKS 1
#endif
#ifndef EVICTS
#define EVICTS 1
#endif
#ifndef PATIENCE
#define PATIENCE 1
#endif
#ifndef KILL
#define KILL 1
#endif
#ifndef FREEZE
#define FREEZE 0
#endif
#ifndef LATES
#define LATES 0
#endif
#define NCH 5
mtype = { CALL, REPLY, GAVEUP, END };
chan pn = [4] of { mtype, byte, byte };   /* program to the shard between: channel, call */
chan np = [10] of { mtype, byte, byte };
chan nf = [6] of { mtype, byte, byte };   /* to the far shard */
chan fn = [6] of { mtype, byte, byte };
bool sess = 1;                            /* of the program at the shard between */
bool gone;                                /* the program has ended */
bool up = 1;                              /* the connection between the shards */
bool lostN, lostF;                        /* it broke, and that side has not seen it yet */
bool known[NCH];                          /* channels at the shard between */
byte calls[NCH];                          /* to be answered, as bits */
bool link_[NCH];                          /* at the far shard */
bool evicted[NCH];
byte ran[CALLS+1];
byte lane;                                /* calls of the program that hold a lane, as bits */
byte breaks = BREAKS, evicts = EVICTS, patience = PATIENCE, kill = KILL, lates = LATES;


inline answered(c) { d_step { assert((lane & (1<<c))!=0); lane = lane & ~(1<<c) } }       /* F3 */

proctype program() { byte n, a, ch, m, c; bool isopen, over;
  { do :: n<CALLS -> n++; a=0; over=0;
      do :: over || a==ATTEMPTS -> break
         :: else -> a++;
            if :: (lane & (1<<n))!=0 -> break :: else fi;                 /* its lane is still taken: no other attempt */
            if :: !isopen -> ch++; isopen=1 :: else fi;
            d_step { lane = lane | (1<<n) }; pn!CALL,ch,n;
            do :: np?m,c,_ -> skip; 
                  if :: m==REPLY -> answered(c); if :: c==n -> over=1; break :: else fi
                     :: m==GAVEUP -> answered(c); if :: c==n -> break :: else fi
                     :: m==END -> if :: c==ch -> isopen=0 :: else fi
                  fi
               :: atomic { patience>0 -> patience-- }; over=1; break      /* its deadline */
            od
      od
     :: else -> break
    od;
    if :: isopen -> pn!END,ch,0 :: else fi
  } unless { kill==9 };
  gone=1 }
proctype killer() { if :: atomic { kill==1 && !gone -> kill=9 } :: true fi }

inline giveup(ch,c) { if :: (calls[ch] & (1<<c))!=0 -> calls[ch]=calls[ch] & ~(1<<c); if :: sess -> np!GAVEUP,c,0 :: else fi :: else fi }
inline giveup_all(ch) { giveup(ch,1); giveup(ch,2) }
inline end_far(ch) {
#ifndef NO_END
  atomic { if :: up && !lostN -> nf!END,ch,0 :: else fi }
#else
  skip
#endif
}
/* The shard between. */
proctype near() { byte ch, c, m;
end: do
  :: pn?m,ch,c -> if :: m==CALL -> if :: !known[ch] -> known[ch]=1 :: else fi;
                       calls[ch]=calls[ch] | (1<<c);
                       atomic { if :: up && !lostN -> nf!CALL,ch,c
                          :: else -> giveup_all(ch); known[ch]=0; np!END,ch,0 fi }
                  :: m==END -> if :: known[ch] -> giveup_all(ch); known[ch]=0; end_far(ch) :: else fi
                  fi; m=0; ch=0; c=0
  :: atomic { lostN -> lostN=0 };
#ifndef NO_GIVE_UP
     ch=0; do :: ch<NCH -> if :: known[ch] -> giveup_all(ch); known[ch]=0; if :: sess -> np!END,ch,0 :: else fi :: else fi; ch++ :: else -> break od;
#else
     ch=0; do :: ch<NCH -> known[ch]=0; calls[ch]=0; ch++ :: else -> break od;
#endif
     ch=0
  :: atomic { up && !lostN && nempty(fn) -> fn?m,ch,c };
     if :: m==REPLY ->
#ifdef ANY_CALL
           if :: known[ch] && sess -> calls[ch]=calls[ch] & ~(1<<c); np!REPLY,c,0 :: else fi
#else
           if :: known[ch] && (calls[ch] & (1<<c))!=0 && sess -> calls[ch]=calls[ch] & ~(1<<c); np!REPLY,c,0 :: else fi
#endif
        :: m==END -> if :: known[ch] -> 
#ifndef KEEP_CALLS
              giveup_all(ch);
#else
              calls[ch]=0;
#endif
              known[ch]=0; if :: sess -> np!END,ch,0 :: else fi :: else fi
     fi; m=0; ch=0; c=0
  :: atomic { gone && sess && empty(pn) -> sess=0 };                       /* the session has ended, however */
     ch=0; do :: ch<NCH -> if :: known[ch] -> calls[ch]=0; known[ch]=0; end_far(ch) :: else fi; ch++ :: else -> break od; ch=0
  :: atomic { lates>0 && calls[1]!=0 -> lates-- }; giveup_all(1)          /* a call's time has passed; its reply may come yet */
#ifndef NO_LATE
  :: FREEZE && calls[1]!=0 -> giveup_all(1)
  :: FREEZE && calls[2]!=0 -> giveup_all(2)
  :: FREEZE && calls[3]!=0 -> giveup_all(3)
#endif
  :: atomic { !sess && nempty(np) -> np?_,_,_ }
  od }

inline run_call(ch,c) {
#ifdef NO_HISTORY
  ran[c]++;
#else
  if :: ran[c]==0 -> ran[c]=1 :: else fi;
#endif
  assert(ran[c]<=1) }                                                      /* F1 */
inline back(what,c1,c2) { atomic { if :: up && !lostF -> fn!what,c1,c2 :: else fi } }
proctype far() { byte ch, c, m;
end: do
  :: atomic { !FREEZE && up && !lostF && nempty(nf) -> nf?m,ch,c };
     if :: m==CALL -> if :: !link_[ch] && !evicted[ch] -> link_[ch]=1 :: else fi;
                      if :: link_[ch] -> run_call(ch,c); back(REPLY,ch,c)
#ifndef NO_END_BACK
                         :: else -> back(END,ch,0)
#else
                         :: else -> skip
#endif
                      fi
        :: m==END -> link_[ch]=0
     fi; m=0; ch=0; c=0
  :: atomic { FREEZE && up && !lostF && nempty(nf) -> nf?m,ch,c }; if :: m==END -> link_[ch]=0 :: else fi; m=0; ch=0; c=0   /* only what needs no service */
  :: atomic { lostF -> lostF=0 };
#ifndef NO_CARRIER_END
     d_step { link_[1]=0; link_[2]=0; link_[3]=0; link_[4]=0 }
#endif
  :: atomic { !FREEZE && evicts>0 && up && !lostF && link_[1] -> evicts--; link_[1]=0; evicted[1]=1; }; 
#ifndef NO_END_BACK
     back(END,1,0)
#else
     skip
#endif
  od }

/* What was on its way is lost; each side sees it at some time, and then there is another connection. */
proctype net() {
end: do
  :: atomic { breaks>0 && up && !gone -> breaks--; up=0; lostN=1; lostF=1;
       do :: nempty(nf) -> nf?_,_,_ :: empty(nf) -> break od; do :: nempty(fn) -> fn?_,_,_ :: empty(fn) -> break od }
  :: atomic { !up && !lostN && !lostF -> up=1 }
  od }
init { atomic { run program(); run killer(); run near(); run far(); run net() }
  (gone && timeout);
  assert(!known[1] && !known[2] && !known[3] && !known[4]);                /* F4 */
  assert(calls[1]==0 && calls[2]==0 && calls[3]==0 && calls[4]==0);
  assert(!link_[1] && !link_[2] && !link_[3] && !link_[4]) }
