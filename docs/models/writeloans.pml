/* Write loans (src/door/client_slots.cc, src/chunk/memory_store.cc; ADR 72): programs of the node overwrite what is stored of a chunk
 * without asking, while the shard cuts it, removes it, gives the slot to another file, or brings the file to rest.
 * One chunk of file F with two bytes, both stored in the beginning; writer c overwrites byte c, WRITES times, under a loan that it asks for
 * when it has none. The shard also writes byte 1 for others after a cut. Stores of the writers go through store buffers (x86-TSO) that
 * drain at any time; SIGKILL at any step (KILLS), SIGSTOP is a process that is not scheduled.
 * RUN: ./run-sizes.sh, or: spin -a -DWRITERS=1 writeloans.pml; gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c; ./pan -m2000000
 * Verified: one writer (of either byte), 2 writes, 2 operations, 1 kill: 3,824,558 states; two writers, 1 write each, 1 operation: 2,219,073; as
 *  threads of one program, with a kill: 5,444,253.
 * Properties: L1 no store into another file's slot. L2 a write that returned is there until something takes its byte away, and then it is not.
 *  L3 a copy that began before a cut changes nothing that was written beyond the cut after it. L4 no byte of a file at rest changes.
 * Broken variants, all caught: -DNO_FENCE (none between naming the slot and looking at its generation), -DNO_FENCE2 (none between the copy and the
 *  second look), -DNO_CHECK2 (no second look), -DNO_QUARANTINE (a slot is free though a program is late in it), -DIN_PLACE (a cut does not
 *  move the chunk from under a late program), -DNO_BLOCK (likewise when there is no slot to move to: the cut bytes are written anew at once),
 *  -DREST_LATE (a late loan does not keep the file from coming to rest), -DANY_GENERATION (who knows the generation writes without a loan).
 * -DTHREADS: the two writers are threads of one program. They share what it knows of the chunk (P) and the loan, and each has a busy word of its
 *  own. The place of the loan goes to another chunk, without a new generation, only when no other thread is between the moment in which it took
 *  the right and its end. Broken variants, both caught: -DONE_WORD (one busy word for both), -DNO_IN_USE (the place goes at any time). */
#ifndef NS
#define NS 2
#endif
#ifndef OPS
#define OPS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef WRITES
#define WRITES 2
#endif
#define NO 9
#define HZ 100
#ifdef THREADS
#define NAMES(c,s) ((hz[0]==s+1 && !gone[0]) || (hz[1]==s+1 && !gone[1]))
#define LOAN 0
#define P 0
#else
#define NAMES(c,s) (hz[c]==s+1 && !gone[c])
#define LOAN c
#define P c
#endif
#ifdef ONE_WORD
#define WORD 0
#else
#define WORD c
#endif
byte mem[2*NS], gen[NS], end_[NS];
byte st[NS];                            /* 0 free, 1 F, 2 G, 3 no file's, but pinned by a loan */
bool blocked[NS];
byte hz[2];                             /* the slot that a writer overwrites + 1 */
bool gone[2], die[2];
byte loan[2], lslot[2];                 /* 0 none, 1 in force, 2 late */
bool knows[2], inuse[2]; byte kslot[2], kgen[2];  /* what a program knows of the chunk; that a thread uses it */
byte slotF = 0, slotG = NO, kills = KILLS, nfin;
bool srv, rest, anew; byte restmem[2], anewmem;
chan sb[2] = [3] of { byte, byte };
/* What byte b must be: 0 zero, 1 the writer's, 3 the shard's, 2 any of these, 4 as in the beginning or the writer's. */
byte g[2]; bool inp[2], ov[2];
#define VAL(b) (10+b)
#define OLD 6
#define THEIRS 5

inline wbegin(b) { d_step { inp[b]=1; ov[b]=0 } }
inline wend(b,r) { d_step { inp[b]=0; if :: (ov[b] || r) -> g[b]=2 :: else -> g[b]=1 fi } }
inline changed(b,v) { g[b]=v; if :: inp[b] -> ov[b]=1; g[b]=2 :: else fi }

proctype drain(byte c) { byte a, v;
end: do :: atomic { sb[c]?a,v -> if :: a==HZ -> hz[WORD]=v :: else -> mem[a]=v fi; a=0; v=0 } od }

#define FORGET d_step { inuse[c]=0; if :: kslot[P]==s && kgen[P]==k -> knows[P]=0 :: else fi }
#ifdef NO_IN_USE
#define FREE_PLACE true
#else
#define FREE_PLACE (!inuse[1-c])
#endif
proctype writer(byte c) { byte s, k, tries, n; bool ok;
  { do :: n<WRITES -> n++; tries=0; wbegin(c);
again:
      if :: tries<2 -> tries++ :: else -> goto rpc fi;
      if :: atomic { knows[P] -> s=kslot[P]; k=kgen[P]; inuse[c]=1 }
         :: atomic { !knows[P] && !srv -> if :: slotF!=NO && end_[slotF]>c && loan[LOAN]!=2 -> s=slotF; k=gen[s]; loan[LOAN]=1; lslot[LOAN]=s; knows[P]=1; kslot[P]=s; kgen[P]=k; inuse[c]=1; rest=0; if :: c==1 -> anew=0 :: else fi
                                       :: else -> goto rpc fi } fi;
      sb[c]!HZ,s+1;
#ifndef NO_FENCE
      empty(sb[c]);
#endif
      if :: gen[s]!=k || end_[s]<=c -> sb[c]!HZ,0;
#ifdef ANY_GENERATION
           k=gen[s]; kgen[P]=k; goto again
#else
           FORGET; goto again
#endif
         :: else fi;
      sb[c]!(2*s+c),VAL(c);
#ifndef NO_FENCE2
      empty(sb[c]);
#endif
      ok = (gen[s]==k);
#ifdef NO_CHECK2
      ok = 1;
#endif
      sb[c]!HZ,0;
      if :: ok -> wend(c,0)
         :: else -> FORGET; goto again fi;
      inuse[c]=0;
      if :: atomic { knows[P] && !srv && empty(sb[c]) && FREE_PLACE -> if :: loan[LOAN]==1 -> loan[LOAN]=0 :: else fi; knows[P]=0 }   /* the place goes to another chunk */
         :: skip fi;
      goto next;
rpc:  atomic { !srv -> if :: slotF!=NO && end_[slotF]>=c && !(blocked[slotF] && end_[slotF]==c) ->
                            mem[2*slotF+c]=VAL(c); rest=0; if :: c==1 -> anew=0 :: else fi; if :: end_[slotF]==c -> end_[slotF]=c+1 :: else fi; wend(c,0)
                         :: else -> wend(c,1) fi };
next: skip
    :: else -> break
    od } unless { die[c] };
  atomic { empty(sb[c]) -> gone[c]=1; if :: inp[c] -> wend(c,1) :: else fi; nfin++; s=0; k=0; tries=0; n=0; ok=0; inuse[c]=0 } }
proctype killer() { do :: atomic { kills>0 && nfin<WRITERS -> kills--;
#ifdef THREADS
    die[0]=1; die[1]=1
#else
    if :: die[0]=1 :: die[1]=1 fi
#endif
 } :: break od }

#define IS_OK(b,x) ((g[b]==0 && x==0) || (g[b]==1 && x==VAL(b)) || (g[b]==3 && x==THEIRS) || (g[b]==4 && (x==OLD || x==VAL(b))) || (g[b]==2 && (x==0 || x==VAL(b) || x==THEIRS || x==OLD)))
inline chk() { d_step {
    if :: slotG!=NO -> assert(mem[2*slotG]==4 && mem[2*slotG+1]==4) :: else fi;                       /* L1 */
    if :: slotF!=NO && end_[slotF]>0 && !inp[0] -> assert(IS_OK(0,mem[2*slotF])) :: else fi;           /* L2 */
    if :: slotF!=NO && end_[slotF]>1 && !inp[1] -> assert(IS_OK(1,mem[2*slotF+1])) :: else fi;         /* L2 */
    if :: anew -> assert(mem[2*slotF+1]==anewmem) :: else fi;                                            /* L3 */
    if :: rest && slotF!=NO -> assert(mem[2*slotF]==restmem[0] && (end_[slotF]<2 || mem[2*slotF+1]==restmem[1])) :: else fi } }  /* L4 */

inline look(c,s) { if :: loan[c]!=0 && lslot[c]==s -> if :: NAMES(c,s) -> loan[c]=2 :: else -> loan[c]=0 fi :: else fi }
inline take_back(s) { gen[s]++; look(0,s); look(1,s) }        /* the new generation is there, for all, before it looks */
#define LATE(s) ((loan[0]==2 && lslot[0]==s) || (loan[1]==2 && lslot[1]==s))
#define LENT(s) ((loan[0]!=0 && lslot[0]==s) || (loan[1]!=0 && lslot[1]==s))

#ifdef IN_PLACE
#define MUST_MOVE(s) false
#define MUST_BLOCK(s) false
#else
#define MUST_MOVE(s) LATE(s)
#ifdef NO_BLOCK
#define MUST_BLOCK(s) false
#else
#define MUST_BLOCK(s) LATE(s)
#endif
#endif
#ifdef REST_LATE
#define MAY_REST(s) true
#else
#define MAY_REST(s) (!LENT(s))
#endif
#ifdef NO_QUARANTINE
#define UNUSED(s) (st[s]==3)
#else
#define UNUSED(s) (st[s]==3 && !LENT(s))
#endif

proctype server() { byte n, s, t;
  do
  :: n<OPS -> n++;
    if
    :: atomic { slotF!=NO && end_[slotF]==2 -> srv=1; s=slotF; rest=0; anew=0; changed(1,0) }   /* truncate to 1 */
       take_back(s);
       t=NO; if :: st[0]==0 -> t=0 :: else -> if :: st[1]==0 -> t=1 :: else fi fi;
       if :: MUST_MOVE(s) && t!=NO -> mem[2*t]=mem[2*s]; d_step { gen[t]++; end_[t]=1; st[t]=1; slotF=t; st[s]=3; end_[s]=0; gen[s]++ }
          :: else -> d_step { end_[s]=1; gen[s]++; blocked[s]=MUST_BLOCK(s) }
       fi;
       atomic { changed(1,0); srv=0 }
    :: atomic { slotF!=NO && end_[slotF]==1 && !blocked[slotF] -> srv=1; s=slotF; rest=0 }   /* byte 1 for others: theirs, or a zero in a gap */
       if :: mem[2*s+1]=THEIRS; d_step { end_[s]=2; changed(1,3); anew=1; anewmem=THEIRS } :: mem[2*s+1]=0; d_step { end_[s]=2; changed(1,0); anew=1; anewmem=0 } fi;
       srv=0
    :: atomic { slotF!=NO -> srv=1; s=slotF; rest=0; anew=0; changed(0,0); changed(1,0) }      /* unlink */
       take_back(s);
       d_step { slotF=NO; end_[s]=0; gen[s]++; st[s]=3; srv=0 }
    :: atomic { slotG==NO && (st[0]==0 || st[1]==0) -> srv=1; if :: st[0]==0 -> t=0 :: else -> t=1 fi; st[t]=2 }
       mem[2*t]=4; mem[2*t+1]=4;
       d_step { gen[t]++; end_[t]=2; slotG=t; srv=0 }
    :: atomic { slotF!=NO && !rest -> srv=1; s=slotF }                                          /* settle */
       take_back(s);
       d_step { if :: MAY_REST(s) -> rest=1; restmem[0]=mem[2*s]; restmem[1]=mem[2*s+1] :: else fi; srv=0 }
    :: true -> skip
    fi; chk(); d_step { s=0; t=0 }
  :: atomic { !srv && (loan[0]==2 || loan[1]==2) -> srv=1 }                                     /* looks at those that are late */
     if :: loan[0]==2 && !NAMES(0,lslot[0]) -> loan[0]=0 :: else fi;
     if :: loan[1]==2 && !NAMES(1,lslot[1]) -> loan[1]=0 :: else fi;
     d_step { if :: blocked[0] && !LATE(0) -> blocked[0]=0 :: else fi; if :: blocked[1] && !LATE(1) -> blocked[1]=0 :: else fi; srv=0 }; chk()
  :: atomic { !srv && (UNUSED(0) || UNUSED(1)) -> if :: UNUSED(0) -> st[0]=0 :: else -> st[1]=0 fi }
  :: n==OPS && nfin==WRITERS -> break
  od;
  empty(sb[0]) && empty(sb[1]); chk() }

init { atomic { st[0]=1; end_[0]=2; mem[0]=OLD; mem[1]=OLD; g[0]=4; g[1]=4;
#if WRITERS == 2
  run drain(0); run writer(0); run drain(1); run writer(1);
#else
  if :: run drain(0); run writer(0) :: run drain(1); run writer(1) fi;
#endif
  run server(); run killer() } }
