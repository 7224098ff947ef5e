/* What members ask of each other's shares, and give. First byte
 *   even, below 0x80: a question; one that decodes comes back byte for byte;
 *   odd, below 0x80:  an answer that nobody waits for, which does nothing;
 *   from 0x80 on:     two clients wait for shares of a cluster of 4 to 7 members, of which some give them, late, twice,
 *                     of another question, too large, or not well-formed, as the rest says: each client is answered
 *                     once, with what the members that were asked gave first, k of them unless time is over. */
/* The parts around the collecting of shares are the target's. */
#define session_send fuzz_session_send
#define session_fail fuzz_session_fail
#define session_begin fuzz_session_begin
#define session_end fuzz_session_end
#define session_actor fuzz_session_actor
#define peers_send fuzz_peers_send
#define driver_read fuzz_driver_read
#define compute_start fuzz_compute_start
#include "node/release_collect.c"

#include "base/log.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLIENTS 2
#define MOST 7 /* members */
#define SELF 1

struct input {
    const uint8_t *at, *end;
};

/* One who waits, and what was done for it. */
struct waiting {
    struct session session;
    struct collect *collect;
    uint64_t serial;
    unsigned begun, ended, answered;
    bool with_content, had_content;
    uint32_t asked;                  /* members, by bit */
    struct buffer given[MOST + 1];   /* the first good answer of each */
    uint32_t gave;
    struct compute own;              /* this node's share, while it is computed */
    bool computing;
};

static struct release_desk desk;
static struct node node = {.release = &desk, .self = SELF};
static struct waiting clients[CLIENTS];
static struct input *input;

static uint8_t take(void) { return input->at < input->end ? *input->at++ : 0; }

static struct waiting *of_session(const struct session *s) { return &clients[s == &clients[1].session]; }

bool session_begin(struct session *s, uint64_t id)
{
    CHECK(id == 40 + (uint64_t)(of_session(s) - clients));
    of_session(s)->begun++;
    return true;
}

void session_end(struct session *s) { of_session(s)->ended++; }

bool session_actor(struct actor *out, const struct session *s, const uint64_t *leaves, size_t count)
{
    (void)out, (void)s, (void)leaves, (void)count;
    return false;
}

void session_fail(struct session *s, uint64_t id, enum err code, const char *text, uint64_t retry_after_ms)
{
    (void)id, (void)text, (void)retry_after_ms;
    CHECK(code != OK && of_session(s)->gave == 0 && of_session(s)->answered++ == 0);
}

void session_send(struct session *s, uint32_t type, uint64_t id, const struct buffer *body)
{
    struct waiting *w = of_session(s);
    static struct message_shared m;
    uint32_t seen = 0;
    (void)id;
    if (type == MESSAGE_CONTENTS) {
        CHECK(w->with_content && !w->had_content && !w->asked);
        w->had_content = true;
        return;
    }
    CHECK(type == MESSAGE_SHARED && w->answered++ == 0 && w->had_content == w->with_content);
    CHECK(message_shared_decode(&m, buffer_bytes(body)) == OK && m.count >= 1 && m.count <= node.genesis.quorum);
    for (uint32_t i = 0; i < m.count; i++) {
        uint32_t member = m.shares[i].member;
        CHECK(member >= 1 && member <= node.genesis.member_count && !(seen >> member & 1));
        CHECK(w->asked >> member & 1 && bytes_equal(m.shares[i].sealed, buffer_bytes(&w->given[member])));
        CHECK(m.shares[i].signature[0] == member);
        seen |= UINT32_C(1) << member;
    }
    CHECK(seen == w->gave); /* all of them */
    fuzz_taken = true;
}

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    struct share_ask asked;
    (void)p;
    CHECK(type == PEER_SHARE_ASK && index != SELF && share_ask_decode(&asked, body) == OK);
    struct waiting *w = clients[0].serial == id ? &clients[0] : &clients[1];
    CHECK(w->serial == id && !(w->asked >> index & 1) && asked.leaf_index == 7);
    w->asked |= UINT32_C(1) << index;
    return take() & 1 ? ERR_UNREACHABLE : OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    (void)d, (void)r;
    return ERR_BUSY;
}

void compute_start(struct node *n, const struct share_ask *ask, unsigned asker, struct opening *opening, void *data,
                   void (*done)(struct compute *c, enum err code))
{
    struct waiting *w = of_session(((struct collect *)data)->session);
    CHECK(asker == SELF && !w->computing && opening);
    opening_free(opening);
    w->own = (struct compute){.node = n, .ask = *ask, .data = data, .done = done};
    w->asked |= UINT32_C(1) << SELF;
    w->computing = true;
    if (!(take() & 1)) return; /* later */
    w->computing = false;
    done(&w->own, ERR_NOT_READY);
}

/* --- what happens --- */

static void begin(struct waiting *w)
{
    struct message_opening m = {.leaf_index = 7, .first = take() % 4, .count = 1 + take() % 4};
    uint8_t how = take();
    for (; m.excluded_count < (how & 3); m.excluded_count++) m.excluded[m.excluded_count] = take() % (LIMIT_NODES + 2);
    w->collect = collect_new(&w->session, 40 + (uint64_t)(w - clients), &m);
    CHECK(w->collect);
    w->serial = w->collect->serial;
    w->collect->rotation = how >> 4;
    w->with_content = w->collect->with_content = how & 4;
    w->collect->read.data = w->collect;
    collect_loaded(&w->collect->read, how & 8 ? ERR_NOT_FOUND : OK);
}

static void own_is_done(struct waiting *w, enum err code)
{
    if (!w->computing) return;
    uint8_t bytes[] = {'o', 'w', 'n'};
    w->computing = false;
    if (code == OK) {
        buffer_append(&w->own.sealed, bytes, sizeof bytes);
        w->own.signature.bytes[0] = SELF;
        if (!w->answered) w->gave |= UINT32_C(1) << SELF;
        buffer_append(&w->given[SELF], bytes, sizeof bytes);
    }
    w->own.done(&w->own, code);
    buffer_free(&w->own.sealed);
}

/* Good, refused, of another question, too large, or with a byte changed. */
static void give(struct waiting *w)
{
    uint8_t how = take(), what = take(), member = 1 + how % node.genesis.member_count;
    struct buffer body = {0};
    uint8_t signature[64] = {member}, bytes[64] = {what, member};
    uint64_t serial = w->serial + (what & 1);
    struct waiting *other = w == &clients[0] ? &clients[1] : &clients[0];
    struct bytes sealed = bytes_of(bytes, what % sizeof bytes);
    static uint8_t large[2000];
    if (how & 0x40) sealed = bytes_of(large, sizeof large);
    pack_array(&body, 3);
    pack_uint(&body, how & 0x80 ? ERR_NOT_READY : OK);
    pack_bytes(&body, sealed);
    pack_bin(&body, signature, sizeof signature);
    bool whole = !(how & 0x20);
    if (!whole) body.data[body.size - 66] ^= 1 + take() % 255; /* the signature's head */
    struct waiting *to = what & 1 ? (other->serial == serial ? other : NULL) : w;
    bool good = whole && !(how & 0xc0) && to && !to->answered && to->asked >> member & 1 && member != SELF;
    if (good && !(to->gave >> member & 1)) {
        to->gave |= UINT32_C(1) << member;
        buffer_append_bytes(&to->given[member], sealed);
    }
    if (member != SELF) release_message(&node, member, PEER_SHARE_GIVEN, serial, buffer_bytes(&body));
    buffer_free(&body);
}

static bool waits(const struct waiting *w)
{
    for (struct collect *c = desk.list; c; c = c->next)
        if (c == w->collect) return !c->answered;
    return false;
}

static void happen(struct waiting *w)
{
    switch (take() % 4) {
    case 0: give(w); break;
    case 1: own_is_done(w, OK); break;
    case 2: own_is_done(w, ERR_BUSY); break;
    case 3: if (waits(w)) collect_timer(&w->collect->timer); break;
    }
}

static void end(void)
{
    node.stopping = true;
    for (int i = 0; i < CLIENTS; i++) {
        if (waits(&clients[i])) collect_timer(&clients[i].collect->timer);
        own_is_done(&clients[i], ERR_STOPPED);
        CHECK(clients[i].answered == 1);
        for (int j = 0; j <= MOST; j++) buffer_free(&clients[i].given[j]);
    }
    uv_run(&node.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < CLIENTS; i++) CHECK(clients[i].begun == 1 && clients[i].ended == 1);
    CHECK(desk.list == NULL && desk.collects == 0);
    node.stopping = false;
}

static void collecting(struct input *in)
{
    input = in;
    node.genesis.member_count = 4 + take() % (MOST - 3);
    node.genesis.quorum = node.genesis.member_count - (node.genesis.member_count - 1) / 3;
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].session.node = &node;
        clients[i].serial = desk.next_serial + 1;
        begin(&clients[i]);
    }
    while (in->at < in->end) happen(&clients[take() % CLIENTS]);
    end();
}

static void ask(struct bytes in)
{
    struct share_ask ask;
    struct buffer out = {0};
    if (share_ask_decode(&ask, in) != OK) return;
    CHECK(ask.count <= LIMIT_OPENED && ask.first <= LIMIT_OPENED);
    share_ask_encode(&out, &ask);
    CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
    fuzz_taken = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        log_setup(LOG_ERROR, false);
        CHECK(uv_loop_init(&node.loop) == 0);
    }
    ready = true;
    if (size == 0) return 0;
    if (data[0] & 0x80)
        collecting(&(struct input){data + 1, data + size});
    else if (data[0] & 1)
        release_message(&node, 1 + data[0] % LIMIT_NODES, PEER_SHARE_GIVEN, data[0], bytes_of(data + 1, size - 1));
    else
        ask(bytes_of(data + 1, size - 1));
    return 0;
}
