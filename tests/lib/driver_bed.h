/* A cluster of drivers in one process, on one loop: real logs and stores in a
 * temporary folder, links between the nodes in memory. It stands in for net/peers.c
 * (so a program that uses it can't use real peers as well). What fails here by the
 * test's own fault ends the test (CHECK). */
#ifndef TESTS_LIB_DRIVER_BED_H
#define TESTS_LIB_DRIVER_BED_H

#include "base/check.h"
#include "base/clock.h"
#include "consensus/driver.h"
#include "storage/log.h"
#include "tests/lib/fault.h"
#include "tests/lib/ledger_kit.h"

/* Shorter than a real node's, so that elections take a quarter of a second; twice as long where all is slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BED_TICK_MS 20
#else
#define BED_TICK_MS 10
#endif
/* For what must come, on however slow a machine. */
#define BED_PATIENCE_MS 120000u
#define BED_PATIENT 2 /* the user of that number, of bed_start_people */

struct bed;

struct bed_node {
    struct bed *bed;
    unsigned index;
    char folder[FOLDER_PATH];
    struct fault fault; /* the log's disk */
    struct log *log;
    struct store *store;
    struct driver *driver; /* NULL: down */
    struct peers *peers;
    struct driver_applied applied; /* the last one told */
    bool fatal, stopped, deceived, told, again; /* told: deceived by another history that a leader gave it */
    unsigned evidence;            /* pieces told */
    unsigned set_backs;           /* times that it found out that its disk was, in all its lives */
    struct buffer last_evidence;
    struct raft_place { uint64_t term, index; } withdrawn[LIMIT_NODES + 1]; /* by other members, as told last */
    enum err fatal_code;
    uint64_t keep_bytes; /* of the log */
    uint32_t segment_limit; /* of the log, 4 MiB each; 0: the usual one */
    uint64_t map_size;   /* of the store */
    unsigned tick_ms;    /* from its next start on; 0: BED_TICK_MS */
    bool accept_loss;    /* the operator's word for the next start */
    /* Before messages for other parts than the driver (witness, catch-up); may be NULL. */
    void (*on_message)(struct bed_node *node, unsigned from, uint32_t type, uint64_t id, struct bytes body);
    void (*on_applied)(struct bed_node *node, const struct driver_applied *applied);
    /* Takes the snapshot over; NULL: it is ended at once. */
    void (*on_digest)(struct bed_node *node, const struct driver_digest *digest);
    void (*on_install)(struct bed_node *node, uint64_t index, uint64_t term, struct bytes manifest);
    bool (*snapshot)(struct bed_node *node, uint64_t *index, uint64_t *term, struct buffer *manifest);
    void *data; /* the test's */
};

struct bed {
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t timer;
    struct kit kit; /* genesis, keys, makes requests; its own ledger is a model */
    struct kit_actor doctor; /* user 1, of bed_start_people */
    unsigned n;
    struct bed_node nodes[LIMIT_NODES + 1]; /* 1 .. n */
    bool cut[LIMIT_NODES + 1][LIMIT_NODES + 1]; /* from, to: what is sent is lost */
    bool older[LIMIT_NODES + 1]; /* speaks version 1 only (consensus/peer_messages.h); changed while it is down */
    uint64_t sent[256]; /* messages by type */
    bool lost[256];     /* those of this type are sent, and do not come */
    size_t unacked;     /* bytes, on each link: as peers_unacked says */
    uint64_t receiving_ms; /* on each link: as peers_receiving_ms says */
    unsigned renewed;   /* links, by peers_renew; nothing is lost by it */
    uint64_t copied;    /* bytes of them that a link would copy */
    struct bed_message *first, *last;
    bool timed_out;
};

void bed_open(struct bed *bed, unsigned n, unsigned b);
void bed_close(struct bed *bed); /* stops what runs, removes the folders */
enum err bed_try_start(struct bed *bed, unsigned node, struct failure *failure);
void bed_start(struct bed *bed, unsigned node); /* again after a crash or stop: from the disk */
void bed_start_all(struct bed *bed);
unsigned bed_start_people(struct bed *bed); /* all, with a doctor and a patient: leaves 1 and 2; who leads */
unsigned bed_up(struct bed *bed, unsigned n, unsigned b); /* opened, and started with them */
void bed_crash(struct bed *bed, unsigned node); /* as kill -9: nothing is flushed, no callback comes */
void bed_stop(struct bed *bed, unsigned node);  /* in order */
void bed_wipe(struct bed *bed, unsigned node);  /* of a node that is down: its disk is empty */
void bed_rebuild(struct bed *bed, unsigned node); /* of a node that is down: as node/daemon.c does after on_deceived */

/* Of a node that is down: where its log has block `index`. CHECKs that it does, undamaged. */
struct bed_record {
    char folder[FOLDER_PATH], file[64];
    uint32_t offset, size;
    uint64_t batch;
};
struct bed_record bed_find(const struct bed *bed, unsigned node, uint64_t index);
void bed_flip(const struct bed_record *r, uint32_t at); /* a bit of that byte of its file */
void bed_damage(const struct bed *bed, unsigned node, uint64_t index); /* a bit of its content */
void bed_damage_header(const struct bed *bed, unsigned node, uint64_t index); /* nor is its term known by itself */

void bed_cut(struct bed *bed, unsigned a, unsigned b, bool cut); /* both ways, with peer_down and peer_up */

/* Turns the loop until `condition` or the time-out; true: it came. */
bool bed_until(struct bed *bed, unsigned ms, bool (*condition)(struct bed *bed, void *data), void *data);
void bed_turn(struct bed *bed, unsigned ms);
/* Turns until the condition holds; CHECKs that it comes. */
#define BED_AWAIT(bed, condition)                                                                                    \
    do {                                                                                                             \
        uint64_t end_ns = clock_monotonic_ns() + BED_PATIENCE_MS * UINT64_C(1000000);                                \
        while (!(condition)) {                                                                                       \
            CHECK(clock_monotonic_ns() < end_ns);                                                                    \
            bed_turn(bed, 2);                                                                                        \
        }                                                                                                            \
    } while (0)
unsigned bed_leader(struct bed *bed);       /* who leads and whom a majority follows; 0: nobody */
unsigned bed_await_leader(struct bed *bed); /* CHECKs that there is one */
struct driver_status bed_status(const struct bed *bed, unsigned node);
/* All running nodes have the same size and root, of at least `size` leaves, and wait for nothing. */
bool bed_await_same(struct bed *bed, uint64_t size);

/* One request under way. */
struct bed_request {
    struct submission s;
    unsigned done; /* how often the callback ran */
    enum err code;
    size_t count;
    struct outcome outcome; /* of its first operation; no views */
    bool has_leaf, has_answer;
};
/* An event.add by `who` on the patient, through `node`. The request is made anew unless again. */
void bed_event(struct bed *bed, struct bed_request *r, const struct kit_actor *who, unsigned patient);
enum err bed_submit(struct bed *bed, struct bed_request *r, unsigned node, unsigned ms);
void bed_copy(struct bed_request *to, const struct bed_request *from); /* the same bytes, to be submitted again */
bool bed_await(struct bed *bed, struct bed_request *r);
uint64_t bed_event_through(struct bed *bed, unsigned node); /* the doctor's on the patient: CHECKs it; its leaf */
void bed_request_free(struct bed_request *r);
/* `to` hears, signed by `of`, that this came so far (consensus/driver_past.c). */
void bed_claim(struct bed *bed, unsigned of, unsigned to, uint64_t term, uint64_t index);
/* Makes user n through `node` and waits; CHECKs that it was approved. */
struct kit_actor bed_add_user(struct bed *bed, unsigned node, unsigned n, const char *role);

#endif
