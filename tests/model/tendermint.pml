/* The core of Tendermint (arXiv 1807.04938) for Spin: agreement of three honest nodes beside a byzantine one, ROUNDS rounds.

   The fourth node is byzantine: it votes for everything, to each node what hurts most, so its vote is counted wherever a
   quorum lacks one. Proposals are all its own, too: in every round each honest node may be shown either value, fresh, or
   again with any earlier round that has a polka for it. An honest proposer could only say less, so whoever proposes is
   covered, and proposals and valid values need no state here.

   What honest nodes have said stands in two tables. A node may act on any quorum that stands there, or not yet, or never:
   that covers every delay, loss and reordering, slow nodes and dead ones. Timers may run out whenever their rule is there.
   Values: 0 is nil, 1 and 2 are valid blocks.

   Mutants: -DNO_LOCK, -DSTALE_POLKA (wants -DROUNDS=3), -DSMALL_QUORUM. */

#ifndef ROUNDS
#define ROUNDS 2
#endif

#define HONEST 3
#define NIL 0
#define NONE 3                  /* nothing said yet */

#ifdef SMALL_QUORUM
#define NEED 1                  /* with the byzantine vote 2 of 4: half, not more than two thirds */
#else
#define NEED 2                  /* with the byzantine vote 3 of 4 */
#endif

byte prevoted[ROUNDS * HONEST] = NONE;
byte precommitted[ROUNDS * HONEST] = NONE;

#define MINE (round * HONEST + me)
#define SAID(box, r, v) ((box[(r) * HONEST] == v) + (box[(r) * HONEST + 1] == v) + (box[(r) * HONEST + 2] == v))
#define POLKA(r, v) (SAID(prevoted, r, v) >= NEED)
#define COMMIT(r, v) (SAID(precommitted, r, v) >= NEED)
#define HEARD(box, r) (HONEST - SAID(box, r, NONE))

#if ROUNDS == 2
#define FINAL(v) (COMMIT(0, v) || COMMIT(1, v))
#else
#define FINAL(v) (COMMIT(0, v) || COMMIT(1, v) || COMMIT(2, v))
#endif

/* L22: a fresh proposal of v */
#ifdef NO_LOCK
#define FREE(v) (true)
#else
#define FREE(v) (locked_at == 0 || locked == v)
#endif

/* L28: v again, with a polka of round vr (locked_at is the round plus one) */
#ifdef STALE_POLKA
#define FREE_AGAIN(v, vr) (true)
#else
#define FREE_AGAIN(v, vr) (locked_at <= vr + 1 || locked == v)
#endif

proctype Node(byte me) {
    byte round = 0;
    byte locked = NIL, locked_at = 0;

    do
    /* step propose: L26, L32, L57: nil, for whatever reason */
    :: atomic { prevoted[MINE] == NONE -> prevoted[MINE] = NIL }
    /* L22 */
    :: atomic { prevoted[MINE] == NONE && FREE(1) -> prevoted[MINE] = 1 }
    :: atomic { prevoted[MINE] == NONE && FREE(2) -> prevoted[MINE] = 2 }
    /* L28 */
    :: atomic { prevoted[MINE] == NONE && round >= 1 && POLKA(0, 1) && FREE_AGAIN(1, 0) -> prevoted[MINE] = 1 }
    :: atomic { prevoted[MINE] == NONE && round >= 1 && POLKA(0, 2) && FREE_AGAIN(2, 0) -> prevoted[MINE] = 2 }
#if ROUNDS > 2
    :: atomic { prevoted[MINE] == NONE && round >= 2 && POLKA(1, 1) && FREE_AGAIN(1, 1) -> prevoted[MINE] = 1 }
    :: atomic { prevoted[MINE] == NONE && round >= 2 && POLKA(1, 2) && FREE_AGAIN(2, 1) -> prevoted[MINE] = 2 }
#endif
    /* step prevote: L36 to L41 */
    :: atomic { prevoted[MINE] != NONE && precommitted[MINE] == NONE && POLKA(round, 1) ->
        locked = 1; locked_at = round + 1; precommitted[MINE] = 1; assert(!(FINAL(1) && FINAL(2))) }
    :: atomic { prevoted[MINE] != NONE && precommitted[MINE] == NONE && POLKA(round, 2) ->
        locked = 2; locked_at = round + 1; precommitted[MINE] = 2; assert(!(FINAL(1) && FINAL(2))) }
    /* L34, L61; and L44, which is a case of it */
    :: atomic { prevoted[MINE] != NONE && precommitted[MINE] == NONE && HEARD(prevoted, round) >= NEED ->
        precommitted[MINE] = NIL }
    /* L47, L65: the next round */
    :: atomic { round + 1 < ROUNDS && HEARD(precommitted, round) >= NEED -> round++ }
    /* L55: one honest message of a later round, and the byzantine one */
    :: atomic { round + 1 < ROUNDS && HEARD(prevoted, round + 1) >= 1 -> round++ }
    od
}

init { atomic { run Node(0); run Node(1); run Node(2) } }
