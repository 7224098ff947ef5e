/* The insides of networks and connections. Private to network.c, connection.c, connection_crowd.c,
 * connection_party.c, connection_sweep.c, connection_turn.c, dial.c and listener.c. */
#ifndef NET_CONNECTION_STATE_H
#define NET_CONNECTION_STATE_H

#include <sys/queue.h>

#include "net/connection.h"
#include "net/workers.h"

#define INPUT_SIZE (64 * KIB)   /* one read of a socket */
#define PLAIN_SIZE (64 * KIB)   /* decrypted at once */
#define WRITE_SIZE (256 * KIB)  /* encrypted and written at once */
#define TURN_SIZE (1 * MIB)     /* written for one connection in one turn of the loop */

/*  CONNECTING -> HANDSHAKE -> OPEN -> DRAINING -> LINGERING -> CLOSED
 *  (dialed)      (accepted)                                    from anywhere
 *
 * Invariants: a worker may touch `tls` and `shake_out` only while `shaking`, and
 * the loop may not; `tls` is set from HANDSHAKE on, of an accepted one once it is
 * `placed`; events other than on_close
 * come in OPEN only; bytes are queued in OPEN and DRAINING only. */
enum phase {
    PHASE_CONNECTING, /* looking the name up, connecting */
    PHASE_HANDSHAKE,
    PHASE_OPEN,
    PHASE_DRAINING,  /* connection_close: what is queued goes out, no more input */
    PHASE_LINGERING, /* our end is shut, what still comes is thrown away until the other side ends */
    PHASE_CLOSED,    /* the handle is closing; on_close is next */
};

struct dial; /* dial.c */
struct connection_owner; /* listener.c: whom an accepted connection asks and tells */

TAILQ_HEAD(connection_list, connection);

/* All accepted connections of one address. */
struct party {
    uint64_t key;
    uint32_t connections, leaving, clients; /* of these: closed to make room; see listener.c */
    uint32_t places;                        /* for handshakes */
    struct connection_list fresh;           /* in the handshake, oldest first */
    struct connection_list line;            /* wait for a place, oldest first */
    TAILQ_ENTRY(party) in_line;             /* of the network's, while somebody is in `line` */
    struct party *next;                     /* in its bucket */
};
TAILQ_HEAD(party_list, party);

#define PARTY_BUCKETS 1024 /* 2^(64 - 54) */
struct parties {
    struct party *buckets[PARTY_BUCKETS];
};

struct connection {
    struct network *network;
    TAILQ_ENTRY(connection) all, wake, shake, line, turn, crowd; /* line, kin: of its party's */
    TAILQ_ENTRY(connection) heard, kin; /* heard: of its listener's lists */
    uint64_t serial;
    uv_tcp_t tcp;
    struct tls_session *tls;
    enum phase phase;
    bool dialed, raw, paused, reading, waking, writing;
    bool shake_queued, shaking; /* waits for a worker; is on one */
    uint8_t shake_list;         /* of the network's `shakes` */
    bool begun;                 /* its first handshake step is done */
    bool placed, in_line;       /* accepted: has a place for its handshake; waits for one */
    bool is_fresh, is_leaving, is_counted; /* see listener.c */
    bool more;                  /* input was kept at a pause */
    bool peer;                  /* a link between nodes: not limited together with clients */
    bool held;                  /* its turn is over, or it has much to read: goes on later */
    bool in_turns;              /* it waits in the network's `turns`, see connection_turn.c */
    bool bulk;                  /* in the middle of a large frame, which nothing whole comes before */
    bool turn_heavy;            /* in the last turn in which it was given anything, it went on with more */
    uint8_t turn_list;
    uint64_t turn_ms;           /* since when it waits there */
    uint64_t turn_serial;       /* the last turn in which it was given anything */
    unsigned turn_share, turn_frames; /* so many frames at most; so many there were */
    size_t turn_bytes;
    uint64_t turn_ns, turn_begun_ns; /* of a link between nodes: as the network's of all clients */
    bool crowded;               /* not read from: see connection_crowd.c */
    size_t sender_at;           /* 1 + its place in the network's `senders`; 0: none */
    bool full, tell_writable;   /* connection_send said ERR_BUSY; it may go on */
    bool shrunk;                /* memory was given back since the last byte */
    bool gone_handle;           /* the socket is closed */
    struct frame_reader reader;
    struct send_queue queue; /* frames not yet encrypted */
    struct buffer cipher; /* what the kernel would not take at once, during a uv_write */
    struct buffer shake_out;
    struct buffer hello;                  /* accepted: what came before it had a place */
    uint64_t asked_ms, silent_ms;         /* placed: since when its answer is waited for, 0: it is not; before */
    size_t charged_send, charged_receive; /* of the network's totals */
    uint64_t since_ms;                    /* of the phase */
    uint64_t active_ms;                   /* last byte either way */
    uint64_t frame_ms;                    /* of the unfinished frame, 0: none; later by what is forgiven it */
    uint64_t begun_ms;                    /* the same, but for what it waited in the crowd */
    uint64_t crowded_ms;                   /* since it is crowded */
    uint64_t took_ms;                      /* when it last took bytes, or had none to take */
    uint64_t stall_ms, stall_taken, taken; /* see check_stall; bytes given to the kernel */
    uint32_t idle_ms;                      /* 0: none */
    struct connection_events events;
    void *data;
    struct connection_owner *owner;
    struct party *party; /* accepted: from its address */
    struct dial *dial;
    struct address remote;
    enum err close_code;
    bool close_said;
    char close_text[160];
    uv_write_t write_request;
    union {
        uv_work_t work;             /* in HANDSHAKE, dialed */
        struct worker_task step;    /* in HANDSHAKE, accepted */
        uv_shutdown_t shutdown;     /* in LINGERING */
    };
};

struct connection_owner {
    /* The handshake is done: sets events, data, raw and idle_ms. false: nobody serves this ALPN. */
    bool (*choose)(struct connection_owner *owner, struct connection *c);
    void (*active)(struct connection_owner *owner, struct connection *c); /* a byte went either way */
    void (*gone)(struct connection_owner *owner, struct connection *c);
};

/* Waiting to go on with input, in this order: links between nodes; clients that were given nothing in the turn
 * that was over before; by turns, clients in the middle of a large frame, and those that had their share of one; accepted
 * ones in the handshake. */
enum { TURN_LINK, TURN_LIGHT, TURN_BULK, TURN_HEAVY, TURN_FRESH, TURN_LISTS };
#define TURN_ACCEPT TURN_LISTS /* nobody waits for it here, but in the kernel */
#define TURN_SPAN_MS 1         /* so often TURN_FRESH and TURN_ACCEPT have time again; TURN_BULK and TURN_HEAVY half of it */

/* Waiting for a handshake step, in this order: those that this side dialed; accepted ones that have
 * begun, since work was put into them; new ones. */
enum { SHAKE_DIALED, SHAKE_BEGUN, SHAKE_NEW, SHAKE_LISTS };
#define SHAKE_SHARES 4 /* one address has at most its share of the steps that run, while others wait */

struct network {
    uv_loop_t *loop;
    struct tls_context *tls;
    struct network_options options;
    struct network_counters counters;
    struct connection_list all, wakes, shakes[SHAKE_LISTS];
    size_t wake_count;
    struct workers *workers; /* nicer than others, for handshake steps of accepted connections */
    uint32_t shaking, dialed_shaking; /* such steps under way: on these, and on libuv's pool */
    struct connection_list steps; /* these */
    struct party_list lines; /* parties with somebody who waits for a place for the handshake, whose turn is next first */
    uint32_t places_taken;
    bool place_free;        /* since the lines were last looked at */
    size_t sending, receiving;
    size_t taken; /* network_take */
    struct connection_list crowd; /* those that are crowded, the first one first */
    struct connection **senders;  /* a heap by frame_ms: clients with an unfinished frame that counts */
    size_t sender_count, sender_capacity;
    struct connection_list turns[TURN_LISTS];
    size_t turn_counts[TURN_LISTS];
    uint64_t turn;            /* counts them */
    uint64_t turn_ns[TURN_LISTS + 1]; /* that these took of this one */
    uint64_t span_since_ns, heavy_ns; /* TURN_FRESH and TURN_ACCEPT: since then; TURN_BULK with TURN_HEAVY, as well */
    bool heavy_first;         /* of these two, when they next have time */
    uint64_t turn_begun_ns;   /* when what a client is being given just now was begun; 0: nothing is */
    int turn_share;           /* of whose time that is: TURN_LIGHT, TURN_BULK, TURN_HEAVY */
    uint8_t *input, *plain; /* INPUT_SIZE, PLAIN_SIZE: shared, each used within one callback only */
    struct buffer cipher;   /* likewise, as is this: */
    uint8_t record[SEND_RECORD];
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t sweep, again; /* the latter: somebody waits until there is time again, or for a place that is free */
    bool sweep_due;   /* its time has come: after this turn's poll */
    struct connection *sweep_next; /* where it goes on in the next turn; NULL: at the beginning */
    unsigned left;    /* connections that are gone, since memory was last given back */
    bool trimming;
    uint64_t trimmed_ms;
    uv_work_t trim;
    unsigned handles; /* not yet closed */
    bool closing;
    void (*done)(void *data);
    void *done_data;
};

/* network.c */
struct connection *network_add(struct network *n); /* zeroed but for its place in the list */
void network_remove(struct connection *c);
void network_wake(struct connection *c);   /* flush and go on with input at the end of this turn */
void network_unwake(struct connection *c);
void network_shake(struct connection *c);  /* a handshake step on a worker, in turn */
bool network_unshake(struct connection *c); /* false: it is on a worker already */
bool network_place(struct connection *c);   /* false: it stands in line, connection_placed follows */
void network_unplace(struct connection *c);
void network_run_lines(struct network *n);  /* gives places that are free, while TURN_FRESH has time */

/* connection.c */
void connection_accepted(struct connection *c, struct connection_owner *owner); /* from a connected socket */
void connection_connected(struct connection *c);
void connection_tune_accepted(struct network *n, uv_tcp_t *listening); /* Linux: they have its socket's options */
void connection_placed(struct connection *c); /* it has a place for its handshake */
void connection_shaken(struct connection *c); /* the worker is done with it */
void connection_wake(struct connection *c);
void connection_go_on(struct connection *c); /* with its input: its turn has come */
bool connection_is_fresh(const struct connection *c); /* accepted, and its handshake is not done */
/* Closes now. The first code and text said stay. */
void connection_finish(struct connection *c, enum err code, const char *text);
void connection_handle_closed(uv_handle_t *handle);
void connection_fault(struct connection *c, enum err code); /* bad input */
void connection_stop_reading(struct connection *c);

/* connection_party.c: whose table it is, a listener, keeps it until its last connection has left */
void party_join(struct parties *all, struct connection *c); /* by its remote address; before all else of `party` */
void party_leave(struct parties *all, struct connection *c);

/* connection_sweep.c */
void connection_sweep(struct connection *c, uint64_t now);

/* connection_crowd.c */
bool crowd_client(const struct connection *c);
size_t crowd_queued(const struct connection *c); /* bytes not yet given to the kernel */
void crowd_charge(struct connection *c);         /* keeps the network's totals */
bool crowd_unread(const struct connection *c);   /* has LIMIT_UNREAD to read: is asked nothing more */
void crowd_sort(struct connection *c);           /* its phase, or frame_ms, has changed */
size_t crowd_room(const struct connection *c);   /* how much may be read from it at once; 0: it should wait */
void crowd_limit_receiving(struct connection *c); /* it has more of an unfinished frame than before */
bool crowd_limit_sending(struct connection *c, size_t size); /* false: it is itself who does not read */
void crowd_forgive(struct connection *c); /* the time in which we did not read what it sent; not more than that */
bool crowd_put_off(struct connection *c, uint64_t waited); /* the same for its turn; false: nothing is forgiven */
void crowd_leave(struct connection *c);
void crowd_go_on(struct network *n); /* at a turn's end */

/* connection_turn.c */
bool turn_is_over(const struct connection *c);                  /* it is to be given no more, but to wait */
void turn_begin(struct connection *c);                          /* around what it is given */
void turn_end(struct connection *c);
void turn_took(struct connection *c, size_t bytes, unsigned frames);
void turn_sort(struct connection *c);                           /* all that was whole of its input it was given */
void turn_wait(struct connection *c);                           /* is held, and goes on in a later turn */
bool turn_forgive(struct connection *c);                        /* its frame the time since; false: none */
void turn_leave(struct connection *c);
bool turn_waits(const struct network *n);                       /* somebody does, and there is time */
bool turn_waits_for_time(const struct network *n);              /* somebody does until the next TURN_SPAN_MS */
bool turn_has_time(const struct network *n, int share);         /* TURN_FRESH, TURN_ACCEPT: may take more of this one */
void turn_took_time(struct network *n, int share, uint64_t begun_ns); /* by uv_hrtime, what these are given */
void turn_next(struct network *n);                              /* begins one, with those that waited */

/* dial.c */
void dial_sweep(struct connection *c, uint64_t now);
bool dial_cancel(struct connection *c); /* true: nothing of it is under way any more */
void dial_free(struct connection *c);

#endif
