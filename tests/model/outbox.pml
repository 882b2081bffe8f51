/* The outbox protocol: how one gist becomes exactly one activity, whatever happens to the runs, the network and the
   person. SPIN tries every order of events; tests/model/check.py runs it with the constants of the code.

   Who acts:
     Run    the main thread of a process: the only one that writes to the database, under the lease
     Step   a thread of that process: sends the POST, or reads Pipedrive's lists
     World  time, the network, Pipedrive, crashes, and users who delete a person and add it again

   Two processes exist at once (RUNS); a process that has ended or crashed is followed by another. Each `atomic` block
   is one transaction, one request or one tick. Between two of them anything may happen, so each process may be
   suspended anywhere, for any time, and continue. Times are ticks; check.py says how long a tick is.

   Safety (assertions): never two activities, none after an undo, and no `pushed` without an activity. Crashes, losses,
   suspensions and users' acts have no limit.
   Liveness (-DLIVENESS): in whatever state they end, if a live process then does what it can within a tick, the gist
   is pushed in the end.

   Each printf names an event in the words of events.py; SPIN prints them when it replays a counterexample.

   Each -DNO_... and the like below removes one rule of the protocol; check.py shows that each removal is found. */

#if !defined(SEND) || !defined(SETTLE) || !defined(LEASE) || !defined(SHOWN)
#error "run python -m tests.model.check, which takes the constants from the code"
#endif
/* SEND    a POST is sent at most so long after `started`
   SETTLE  and Pipedrive's lists are believed about it so long after the last moment of sending
   LEASE   a lease that was not renewed for so long is over
   SHOWN   assumed of Pipedrive: a POST that arrives is in its lists so long after it was sent, at the latest */

#if defined(SETTLE_FROM_STARTED)
#define LOOK_UP SETTLE
#elif defined(NO_SETTLE)
#define LOOK_UP 0
#else
#define LOOK_UP (SEND + SETTLE) /* since `started` */
#endif

#define LEFT (SEND < LOOK_UP -> SEND : LOOK_UP) /* the age of a POST that has left for sure */

#define RUNS 2
#define POSTS 2   /* in the air at once; the protocol allows one */
#define NOBODY 0
#define DEAD 9    /* the token of a process that crashed: the lease is over later, unless its machine sees it at once */

/* ADDED: the person was deleted (DELETED) and added again; no run has stored the gist yet. */
mtype:gist = { PENDING, STARTED, PUSHED, SKIPPED, DELETED, ADDED };
mtype:known = { NOTHING, ACTIVITY, TIME };
mtype:work = { NO_RUN, SYNC, UNDO, UNDO_WRITES, ENDING };
mtype:step = { NO_STEP, ASKED, HANDED_OUT, SENT, CREATED, NOT_SENT, UNKNOWN };
mtype:look = { NO_LOOK, ASKED_TO_LOOK, FOUND, MISSING };
mtype:post = { NO_POST, FLYING, ARRIVED };

/* --- the database --- */
mtype:gist gist = PENDING;
byte age = 0;                  /* ticks since push_started_at, also of a deleted person's gist; LOOK_UP is the most */
byte sender = NOBODY;          /* the process that wrote this push_started_at */
mtype:known known = NOTHING;   /* what the deleted person left about the gist */
byte holder = NOBODY;          /* the lease: whose token, and the ticks until it is over */
byte lease = 0;

/* --- the processes --- */
mtype:work work[RUNS + 1] = NO_RUN;
mtype:step step[RUNS + 1] = NO_STEP;   /* of the thread that creates the activity */
mtype:look look[RUNS + 1] = NO_LOOK;   /* of the thread that looks it up */
byte own_lease[RUNS + 1];              /* ticks until the lease is over by the process's own clock */
byte waited[RUNS + 1];                 /* ticks since `started`, by the step's clock; SEND + 1 is the most */
bool knows_id[RUNS + 1];               /* an undo knows the id of the activity that exists */

/* --- Pipedrive and the network --- */
byte activities = 0;           /* that exist */
bool is_listed = false;        /* Pipedrive's lists show it */
mtype:post post[POSTS] = NO_POST;
byte flown[POSTS];             /* ticks since it was sent */
byte sent_by[POSTS];           /* the process whose step waits for the response */

bool is_undone = false;        /* An operator has undone the push of this gist of this person. */

/* The process's clock may run up to one tick behind the database's. */
#define FULL_LEASE (LEASE + 1)

#define HAS_OUTCOME(me) (step[me] == CREATED || step[me] == NOT_SENT || step[me] == UNKNOWN)
#define HAS_LOOKED(me) (look[me] == FOUND || look[me] == MISSING)

#ifdef LIVENESS
bool is_calm = false;          /* Set once, at any moment: from then on nothing fails. */
bool rested[RUNS + 1];         /* A new process starts a tick after the last one, at the earliest. */
bool is_slow[RUNS + 1];        /* A step has taken a tick before its request. It takes no more. */
#define TROUBLE (!is_calm)
#define RESTED(me) (TROUBLE || rested[me])
#define RENEWED(me) (TROUBLE || own_lease[me] == FULL_LEASE) /* The main loop renews before it hands out steps. */
/* A process that has something to do stops the clock. It waits while its threads do, and these take a tick at most;
   while a response is on its way; or for the lease. */
#define WORKS(me) (step[me] == ASKED || step[me] == HANDED_OUT || look[me] == ASKED_TO_LOOK)
#define IS_WAITING(me) (((WORKS(me) && !is_slow[me]) || (step[me] == SENT && !WORKS(me))) && \
  !HAS_OUTCOME(me) && !HAS_LOOKED(me) && (work[me] == ENDING || (work[me] == SYNC && own_lease[me] == FULL_LEASE)))
#define WAITS(me) (work[me] == NO_RUN || IS_WAITING(me))
#define MAY_TICK (TROUBLE || (WAITS(1) && WAITS(2)))
#else
#define TROUBLE true
#define RESTED(me) true
#define RENEWED(me) true
#define MAY_TICK true
#endif

#ifdef NO_FENCING
#define MAY_WRITE(me) true
#else
#define MAY_WRITE(me) (holder == me)
#endif

#ifdef NO_LEASE_CHECK
#define MAY_TAKE(me) (holder != me)
#elif defined(NO_EXPIRY)
#define MAY_TAKE(me) (holder == NOBODY)
#else
#define MAY_TAKE(me) (holder == NOBODY || lease == 0)
#endif

#ifdef UNDO_WITHOUT_LEASE
#define MAY_BEGIN_UNDO(me) true
#define UNDO_MAY_WRITE(me) true
#else
#define MAY_BEGIN_UNDO(me) (MAY_TAKE(me) && RESTED(me))
#define UNDO_MAY_WRITE(me) MAY_WRITE(me)
#endif

#ifdef NO_DEADLINE
#define IN_TIME(me) true
#else
#define IN_TIME(me) (waited[me] <= SEND)
#endif

#ifdef NO_OWN_LEASE
#define BELIEVES_LEASE(me) true
#else
#define BELIEVES_LEASE(me) (own_lease[me] > 0)
#endif

#ifdef NEVER_LOOK_UP
#define IS_DUE_FOR_LOOK_UP false
#else
#define IS_DUE_FOR_LOOK_UP (gist == STARTED && age >= LOOK_UP)
#endif

/* --- the main thread --- */

inline end_process(me) {
  work[me] = NO_RUN; step[me] = NO_STEP; look[me] = NO_LOOK; own_lease[me] = 0; waited[me] = 0; knows_id[me] = false;
#ifdef LIVENESS
  rested[me] = false; is_slow[me] = false;
#endif
}

inline release(me) {
  if :: holder == me -> holder = NOBODY; lease = 0; printf("lose_lease %d\n", me) :: else fi;
  end_process(me)
}

inline set_gist(new) { gist = new; age = 0; sender = NOBODY }

/* A response named the activity, or Pipedrive's lists showed it. */
inline set_pushed() { assert(activities == 1); set_gist(PUSHED) }

/* Before the request: a crash from here on leaves a gist that may have been sent. */
inline start(me) {
#ifdef NO_STARTED
  sender = me;
#else
  set_gist(STARTED); sender = me;
  printf("started %d\n", me);
#endif
  step[me] = ASKED; waited[me] = 0
}

inline store_again(me) {
  if
  :: known == ACTIVITY -> set_gist(PUSHED); printf("stored %d pushed\n", me)
  :: known == TIME -> gist = STARTED; printf("stored %d started\n", me) /* with the old push_started_at */
  :: known == NOTHING -> set_gist(PENDING); printf("stored %d pending\n", me)
  fi;
  known = NOTHING
}

#if defined(NO_ATTEMPT_CHECK)
#define IS_ITS_ATTEMPT(me) (gist == STARTED)
#elif defined(NO_STARTED)
#define IS_ITS_ATTEMPT(me) ((gist == STARTED || gist == PENDING) && sender == me)
#else
#define IS_ITS_ATTEMPT(me) (gist == STARTED && sender == me)
#endif

inline store_step(me) {
  if
  :: step[me] == CREATED && IS_ITS_ATTEMPT(me) -> printf("outcome %d pushed\n", me); set_pushed()
  :: step[me] == NOT_SENT && IS_ITS_ATTEMPT(me) -> printf("outcome %d pending\n", me); set_gist(PENDING)
#ifdef UNKNOWN_IS_FAILED
  :: step[me] == UNKNOWN && IS_ITS_ATTEMPT(me) -> printf("outcome %d pending\n", me); set_gist(PENDING)
#else
  :: step[me] == UNKNOWN && IS_ITS_ATTEMPT(me) -> /* It has left by now: as if it was started SEND ago. */
     printf("outcome %d unknown\n", me);
     age = LEFT
#endif
  :: else
  fi;
  step[me] = NO_STEP; waited[me] = 0
}

inline store_look(me) {
  if
  :: look[me] == FOUND && gist == STARTED -> printf("looked_up %d found\n", me); set_pushed()
  :: look[me] == MISSING && gist == STARTED -> printf("looked_up %d missing\n", me); set_gist(PENDING)
  :: else
  fi;
  look[me] = NO_LOOK
}

inline land(p) { post[p] = NO_POST; flown[p] = 0; sent_by[p] = NOBODY }

#define HAS_NO_STEP(me) (step[me] == NO_STEP && look[me] == NO_LOOK)
#define IS_SYNC(me) (work[me] == SYNC)
#define HAS_WORK (gist == PENDING || gist == ADDED || IS_DUE_FOR_LOOK_UP)

proctype Run(byte me) {
  do
  :: atomic { /* Take the lease: one conditional write. */
       work[me] == NO_RUN && MAY_TAKE(me) && RESTED(me) ->
       printf("take_lease %d\n", me);
       holder = me; lease = LEASE; own_lease[me] = FULL_LEASE; work[me] = SYNC }
  :: atomic { /* The same for undo_run, which reads what it will undo. */
       work[me] == NO_RUN && gist == PUSHED && TROUBLE && MAY_BEGIN_UNDO(me) ->
#ifndef UNDO_WITHOUT_LEASE
       printf("take_lease %d\n", me);
       holder = me; lease = LEASE;
#endif
       work[me] = UNDO; knows_id[me] = (activities > 0) }

  /* A sync. Each write checks the token; without it, nothing is written and the run ends. */
  :: atomic { IS_SYNC(me) && own_lease[me] < FULL_LEASE && holder == me ->
       printf("renew_lease %d\n", me);
       lease = LEASE; own_lease[me] = FULL_LEASE }
  :: atomic { IS_SYNC(me) && own_lease[me] < FULL_LEASE && holder != me -> work[me] = ENDING }
  :: atomic { IS_SYNC(me) && gist == ADDED -> if :: MAY_WRITE(me) -> store_again(me) :: else -> work[me] = ENDING fi }
  :: atomic { IS_SYNC(me) && gist == PENDING && HAS_NO_STEP(me) && RENEWED(me) ->
       if :: MAY_WRITE(me) -> start(me) :: else -> work[me] = ENDING fi }
  :: atomic { /* A run never looks up what its own step still works on. */
       IS_SYNC(me) && IS_DUE_FOR_LOOK_UP && look[me] == NO_LOOK && !(step[me] != NO_STEP && sender == me) ->
       look[me] = ASKED_TO_LOOK }
  :: atomic { IS_SYNC(me) && HAS_OUTCOME(me) ->
       if :: MAY_WRITE(me) -> store_step(me) :: else -> work[me] = ENDING fi }
  :: atomic { IS_SYNC(me) && HAS_LOOKED(me) ->
       if :: MAY_WRITE(me) -> store_look(me) :: else -> work[me] = ENDING fi }
  :: atomic { IS_SYNC(me) && HAS_NO_STEP(me) && !HAS_WORK -> release(me) }
  :: atomic { IS_SYNC(me) && HAS_NO_STEP(me) && HAS_WORK && TROUBLE -> release(me) } /* It is asked to stop. */
  :: atomic { /* It waits for its threads, which may still send. */
       work[me] == ENDING && step[me] != ASKED && step[me] != HANDED_OUT && step[me] != SENT &&
       look[me] != ASKED_TO_LOOK -> end_process(me) }

  /* An undo: the activity is deleted by its id at Pipedrive, which knows no lease; then the gist is written. */
  :: atomic { work[me] == UNDO ->
       if
       :: knows_id[me] ->
          printf("removed\n");
          activities = 0; is_listed = false; knows_id[1] = false; knows_id[2] = false;
          if :: post[0] == ARRIVED -> land(0) :: else fi;
          if :: post[1] == ARRIVED -> land(1) :: else fi
       :: else
       fi;
       work[me] = UNDO_WRITES }
  :: atomic { work[me] == UNDO_WRITES ->
       if
       :: UNDO_MAY_WRITE(me) && gist == PUSHED ->
#ifdef UNDO_MAKES_PENDING
          set_gist(PENDING);
#else
          set_gist(SKIPPED);
#endif
          printf("undone %d\n", me);
          is_undone = true; assert(activities == 0)
       :: else
       fi;
       release(me) }
  od
}

/* --- the threads --- */

inline not_slow(me) {
#ifdef LIVENESS
  is_slow[me] = false
#else
  skip
#endif
}

inline send(me) {
  printf("sent %d\n", me);
  byte p = 0;
  if :: post[0] == NO_POST -> p = 0 :: else -> p = 1 fi;
  post[p] = FLYING; flown[p] = 0; sent_by[p] = me; step[me] = SENT; waited[me] = 0;
  p = 0 /* A value that nobody needs would double the states. */
}

#ifdef DEADLINE_FROM_HANDING_OUT
#define ASKED_TO_SEND HANDED_OUT
#else
#define ASKED_TO_SEND ASKED
#endif

proctype Step(byte me) {
  do
#ifdef DEADLINE_FROM_HANDING_OUT
  :: atomic { step[me] == ASKED -> step[me] = HANDED_OUT; waited[me] = 0 }
#endif
  :: atomic { step[me] == ASKED_TO_SEND && IN_TIME(me) && BELIEVES_LEASE(me) &&
       (post[0] == NO_POST || post[1] == NO_POST) -> send(me); not_slow(me) }
  :: atomic { step[me] == ASKED_TO_SEND && !(IN_TIME(me) && BELIEVES_LEASE(me)) ->
       step[me] = NOT_SENT; waited[me] = 0; not_slow(me) }
  :: atomic { look[me] == ASKED_TO_LOOK ->
       if :: is_listed -> look[me] = FOUND :: else -> look[me] = MISSING fi; not_slow(me) }
  od
}

/* --- the rest of the world --- */

inline respond(p, outcome) {
  if :: sent_by[p] != NOBODY -> step[sent_by[p]] = outcome; sent_by[p] = NOBODY :: else fi
}

inline arrive(p) {
  printf("landed\n");
  activities++;
  assert(activities == 1);      /* never two */
  assert(!is_undone);           /* not pushed again after an undo */
  post[p] = ARRIVED;
  if
  :: respond(p, CREATED)
  :: TROUBLE && sent_by[p] != NOBODY -> respond(p, UNKNOWN) /* The response is lost. */
  fi
}

/* A crash: the threads and what they know are gone; a POST in the air is not. */
inline crash(me) {
  if :: sender == me -> sender = NOBODY :: else fi;
  if :: sent_by[0] == me -> sent_by[0] = NOBODY :: else fi;
  if :: sent_by[1] == me -> sent_by[1] = NOBODY :: else fi;
  if
  :: holder == me -> holder = DEAD
  :: holder == me -> /* A process on the same machine sees that it died. */
     holder = NOBODY; lease = 0; printf("lose_lease %d\n", me)
  :: holder != me
  fi;
  end_process(me)
}

/* A user deletes the person, and its gists with it. What is in Pipedrive, or may be, is kept apart from the person. */
inline delete_person() {
  printf("deleted\n");
  if
#ifndef FORGET_ON_DELETE
  :: gist == PUSHED -> known = ACTIVITY; age = 0
#ifndef FORGET_STARTED_ON_DELETE
  :: gist == STARTED -> known = TIME
#endif
  :: gist == ADDED
#endif
  :: else -> known = NOTHING; age = 0
  fi;
#ifdef FORGET_TIME_ON_DELETE
  if :: known == TIME -> age = LOOK_UP :: else fi;
#endif
  /* The row that is stored later may, or may not, be found by the step that has started the gist. */
  if :: sender = NOBODY :: known == TIME -> skip fi;
  gist = DELETED; is_undone = false
}

#define IN_BOUNDS(p) (post[p] == NO_POST || flown[p] < SHOWN)

inline tick_process(me) {
  if :: own_lease[me] > 0 -> own_lease[me]-- :: else fi;
#ifdef DEADLINE_FROM_HANDING_OUT
  if :: step[me] == HANDED_OUT && waited[me] <= SEND -> waited[me]++ :: else fi;
#else
  if :: step[me] == ASKED && waited[me] <= SEND -> waited[me]++ :: else fi;
#endif
#ifdef LIVENESS
  is_slow[me] = is_calm && WORKS(me);
  rested[me] = is_calm
#else
  skip
#endif
}

inline tick() {
  printf("tick\n");
  if :: (gist == STARTED || known == TIME) && age < LOOK_UP -> age++ :: else fi;
  if :: lease > 0 -> lease-- :: else fi;
  if :: post[0] != NO_POST -> flown[0]++ :: else fi;
  if :: post[1] != NO_POST -> flown[1]++ :: else fi;
  tick_process(1);
  tick_process(2)
}

active proctype World() {
  do
  :: atomic { IN_BOUNDS(0) && IN_BOUNDS(1) && MAY_TICK -> tick() }
  :: atomic { post[0] == FLYING -> arrive(0) }
  :: atomic { post[1] == FLYING -> arrive(1) }
  :: atomic { post[0] == ARRIVED -> is_listed = true; land(0) }
  :: atomic { post[1] == ARRIVED -> is_listed = true; land(1) }
  :: atomic { post[0] == FLYING && TROUBLE -> respond(0, UNKNOWN); land(0) }         /* It never arrives. */
  :: atomic { post[1] == FLYING && TROUBLE -> respond(1, UNKNOWN); land(1) }
  :: atomic { post[0] == FLYING && sent_by[0] != NOBODY && TROUBLE -> respond(0, UNKNOWN) } /* It arrives too late. */
  :: atomic { post[1] == FLYING && sent_by[1] != NOBODY && TROUBLE -> respond(1, UNKNOWN) }
  :: atomic { work[1] != NO_RUN && TROUBLE -> crash(1) }
  :: atomic { work[2] != NO_RUN && TROUBLE -> crash(2) }
  :: atomic { gist != DELETED && TROUBLE -> delete_person() }
  :: atomic { gist == DELETED -> gist = ADDED }
#ifdef LIVENESS
  :: atomic { !is_calm -> is_calm = true }
#endif
  od
}

init { atomic { run Run(1); run Run(2); run Step(1); run Step(2) } }

#ifdef LIVENESS
#define IS_DONE (gist == PUSHED || gist == SKIPPED || gist == DELETED)
ltl pushed { <> [] (is_calm -> IS_DONE) }
#endif
