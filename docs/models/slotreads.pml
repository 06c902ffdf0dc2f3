/* Reads of slots (src/door/client_slots.cc read(), src/chunk/memory_slots.cc publish(); ADR 68): a program of the node copies stored bytes without
 * asking, while the shard overwrites, cuts, appends, removes, moves and gives the slot to another file, and while another program fills it.
 * One chunk of file F with two bytes, both stored in the beginning. The reader asks where it is once, and then copies READS times; it asks again when the
 * slot has moved. Stores of the shard go through a store buffer (x86-TSO) that drains at any time; a program that fills writes by itself, late or
 * never, and can be killed (KILLS); SIGSTOP is a process that is not scheduled.
 * RUN: ./run-sizes.sh, or: spin -a slotreads.pml; gcc -O2 -DSAFETY -DREDUCED -DCOLLAPSE -o pan pan.c; ./pan -m2000000
 * Properties: R1 a byte that was read was F's at some moment of that read. R2 no byte of another file changes. R3 what is stored of F is what was written last.
 * Verified: 3 operations, 2 reads, 1 kill: 1,118,990 states; 4 operations: 4,235,586.
 * Broken variants, all caught (the last two with -DOPS=4 -DREADS=1): -DNO_RECHECK (the reader does not look again after its copy), -DOLD_GENERATION (a slot that is given to another file
 *  keeps its generation), -DCUT_SAME (a cut keeps it), -DEND_FIRST (bytes are published before they are there), -DFILL_SHOWN (so are those of a fill
 *  that has not ended), -DIN_PLACE (a cut does not move the chunk from under who fills it), -DNO_PIN (a slot is free though somebody may fill it). */
#ifndef OPS
#define OPS 3
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef READS
#define READS 2
#endif
#define NO 9
#define ZERO 0
#define OLD 1
#define NEW 2
#define FILLED 3
#define OTHERS 4
#define WORD 100                         /* in the buffer: the word of slot x-WORD */
byte mem[4];
byte gen[2], end_[2];                    /* as programs see them */
byte pgen[2], pend[2];                   /* as the shard has published them */
byte st[2];                              /* 0 free, 1 F, 2 G, 3 no file's, but pinned by a fill */
byte is[2], was[2];                      /* what byte b of F is, and was until the operation under way is over */
byte seen[2];                            /* what it has been since the read began, as bits */
byte slotF = 0, slotG = NO, kills = KILLS;
byte fslot = NO; bool fvalid, fgone, fover, die;  /* the fill of byte 1 */
bool rdone;
chan sb = [4] of { byte, byte, byte };

proctype drain() { byte a, v, w;
end: do :: atomic { sb?a,v,w -> if :: a>=WORD -> gen[a-WORD]=v; end_[a-WORD]=w :: else -> mem[a]=v fi; a=0; v=0; w=0 } od }

#define FILLING(s) (fslot==s && !fgone && !fover)

inline be(b,v) { was[b]=is[b]; is[b]=v; seen[b]=seen[b] | (1<<v) }
inline publish(s) { sb!WORD+s,pgen[s],pend[s] }
inline publish_new(s) { pgen[s]++; sb!WORD+s,pgen[s],pend[s]; empty(sb) }
inline leave(s) {                        /* the slot is no file's any more */
#ifdef NO_PIN
  st[s]=0
#else
  if :: FILLING(s) -> st[s]=3 :: else -> st[s]=0 fi
#endif
}
proctype reader() { byte n, s, k, stored, a, b; bool has;
  do :: n<READS -> n++;
again:
     if :: has -> skip :: else -> atomic { if :: slotF!=NO -> s=slotF; k=pgen[s]; has=1 :: else -> goto next fi } fi;
     d_step { seen[0]=(1<<is[0])|(1<<was[0]); seen[1]=(1<<is[1])|(1<<was[1]) }
     atomic { if :: gen[s]!=k -> has=0; goto next :: else -> stored=end_[s] fi }
     if :: stored==0 -> goto next :: else fi;
     a=mem[2*s]; if :: stored>1 -> b=mem[2*s+1] :: else fi;
#ifndef NO_RECHECK
     if :: gen[s]!=k -> has=0; goto next :: else fi;
#endif
     d_step { assert((seen[0] & (1<<a))!=0); assert(stored<2 || (seen[1] & (1<<b))!=0) };     /* R1 */
next: skip; d_step { seen[0]=0; seen[1]=0; a=0; b=0; stored=0 }
  :: else -> break
  od; rdone=1 }

proctype filler() {                      /* once it has been given room */
end: { fslot!=NO; mem[2*fslot+1]=FILLED; fover=1 } unless { die };
  if :: die -> fgone=1 :: else fi }
proctype killer() { if :: kills>0 && !rdone -> kills--; die=1 :: true fi }

inline chk() { d_step {
  if :: slotG!=NO -> assert(mem[2*slotG]==OTHERS && mem[2*slotG+1]==OTHERS) :: else fi;             /* R2 */
  if :: slotF!=NO && pend[slotF]>0 -> assert(mem[2*slotF]==is[0]) :: else fi;                        /* R3 */
  if :: slotF!=NO && pend[slotF]>1 -> assert(mem[2*slotF+1]==is[1]) :: else fi } }

proctype shard() { byte n, s, t;
  do :: n<OPS -> n++;
    if
    :: slotF!=NO && pend[slotF]>0 -> s=slotF; d_step { be(0,NEW) }; sb!2*s,NEW,0                     /* overwrite byte 0 by request */
    :: slotF!=NO && pend[slotF]==2 -> s=slotF; pend[s]=1;                                             /* cut to 1 */
       d_step { be(1,ZERO) };
#ifdef CUT_SAME
       publish(s); empty(sb)
#else
       publish_new(s)
#endif
    :: slotF!=NO && fvalid && fslot==slotF -> s=slotF;                                                /* cut to 1 while byte 1 is being filled */
       fvalid=0;
#ifndef IN_PLACE
       t=NO; if :: st[0]==0 -> t=0 :: else -> if :: st[1]==0 -> t=1 :: else fi fi;
       if :: t!=NO -> sb!2*t,is[0],0; pend[t]=1; d_step { st[t]=1; pgen[t]++ }; publish(t); empty(sb);
                      slotF=t; pend[s]=0; publish_new(s); leave(s)
          :: else -> fvalid=1                                                                         /* waits for it */
       fi
#endif
    :: slotF!=NO && pend[slotF]==1 && !fvalid -> s=slotF;                                             /* byte 1 by request */
#ifdef END_FIRST
       pend[s]=2; publish(s); empty(sb); d_step { be(1,NEW) }; sb!2*s+1,NEW,0
#else
       d_step { be(1,NEW) }; sb!2*s+1,NEW,0; pend[s]=2; publish(s)
#endif
    :: slotF!=NO && pend[slotF]==1 && fslot==NO -> fslot=slotF; fvalid=1;                             /* room for byte 1 */
#ifdef FILL_SHOWN
       s=slotF; pend[s]=2; publish(s); empty(sb); pend[s]=1
#endif
    :: slotF!=NO && fvalid && fover && fslot==slotF -> s=slotF; d_step { be(1,FILLED); fvalid=0 }; pend[s]=2; publish(s)   /* it is there */
    :: slotF!=NO -> s=slotF; pend[s]=0;                                                                /* unlink */
       d_step { slotF=NO; fvalid=0; be(0,ZERO); be(1,ZERO) };
#ifdef OLD_GENERATION
       publish(s); empty(sb);
#else
       publish_new(s);
#endif
       leave(s)
    :: slotG==NO && (st[0]==0 || st[1]==0) -> if :: st[0]==0 -> t=0 :: else -> t=1 fi; st[t]=2;         /* another file */
       sb!2*t,OTHERS,0; sb!2*t+1,OTHERS,0; pend[t]=2; publish(t); empty(sb); slotG=t
    :: true -> skip
    fi;
    empty(sb); chk(); d_step { was[0]=is[0]; was[1]=is[1]; s=0; t=0 }
  :: atomic { st[0]==3 && !FILLING(0) -> st[0]=0 }
  :: atomic { st[1]==3 && !FILLING(1) -> st[1]=0 }
  :: n==OPS && (fslot==NO || fover || fgone) -> break
  od;
  empty(sb); chk() }

init { atomic { st[0]=1; pend[0]=2; end_[0]=2; mem[0]=OLD; mem[1]=OLD; is[0]=OLD; is[1]=OLD; was[0]=OLD; was[1]=OLD;
  run drain(); run reader(); run filler(); run killer(); run shard() } }
