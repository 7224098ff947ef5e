/* consensus/keygen_store.h: rows of secrets that decode come back byte for byte; messages of key generation on a node
 * that is in no phase yet; and on one that waits for the sub-shares of others, whose look at the ledger the target
 * gives: what it keeps is what was dealt to it, and it complains of no dealer whose sub-share it holds.
 * The first byte says which: below 0x80 a row, from 0xc0 on a waiting node, else one in no phase. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/keygen_agent_internal.h"
#include "consensus/peer_messages.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "ledger/arguments.h"
#include "ledger/request.h"
#include "net/peers.h"
#include "storage/files.h"
#include "tests/lib/folder.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"
#include "tests/lib/threshold_seed.h"

#define N 4
#define SELF 1

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buffer kept[3]; /* rows of the table, by the letter in their keys */
static uv_loop_t loop;
static struct genesis genesis;
static struct node_secrets secrets;

/* --- the table --- */

static struct buffer *row_of(struct bytes key)
{
    static const char kinds[] = "prx";
    CHECK(key.size >= 2 && key.data[0] == KEY_RECORDS && memchr(kinds, key.data[1], 3));
    return &kept[strchr(kinds, key.data[1]) - kinds];
}

enum err table_get(struct table_txn *txn, uint8_t table, struct bytes key, struct buffer *value)
{
    (void)txn, (void)table;
    if (!row_of(key)->data) return ERR_NOT_FOUND;
    buffer_append_bytes(value, buffer_bytes(row_of(key)));
    return OK;
}

enum err table_put(struct table_txn *txn, uint8_t table, struct bytes key, struct bytes value)
{
    (void)txn, (void)table;
    buffer_clear(row_of(key));
    buffer_append_bytes(row_of(key), value);
    return OK;
}

enum err table_delete(struct table_txn *txn, uint8_t table, struct bytes key)
{
    (void)txn, (void)table;
    buffer_free(row_of(key));
    return OK;
}

enum err table_exists(struct table_txn *txn, uint8_t table, struct bytes key)
{
    (void)txn, (void)table, (void)key;
    return ERR_NOT_FOUND;
}

/* Of the rows of attempt 1, which is the only one. */
struct table_cursor {
    uint8_t key[6];
};

enum err table_cursor_open(struct table_cursor **out, struct table_txn *txn, uint8_t table)
{
    static struct table_cursor cursor;
    (void)txn, (void)table;
    *out = &cursor;
    return OK;
}

enum err table_cursor_seek(struct table_cursor *c, struct bytes key)
{
    const uint8_t found[6] = {KEY_RECORDS, key.data[1], 0, 0, 0, 1};
    memcpy(c->key, found, sizeof found);
    return row_of(key)->data ? OK : ERR_NOT_FOUND;
}

struct bytes table_cursor_key(struct table_cursor *c) { return BYTES(c->key); }

enum err table_cursor_next(struct table_cursor *c)
{
    (void)c;
    return ERR_NOT_FOUND;
}

enum err table_cursor_value(struct table_cursor *c, struct buffer *value)
{
    (void)c, (void)value;
    return ERR_NOT_FOUND;
}

enum err table_cursor_seek_back(struct table_cursor *c, struct bytes key) { return table_cursor_seek(c, key); }
enum err table_cursor_previous(struct table_cursor *c) { return table_cursor_next(c); }
void table_cursor_close(struct table_cursor *c) { (void)c; }

uint64_t table_count(struct table_txn *txn, uint8_t table)
{
    (void)txn, (void)table;
    return 0;
}

static void forget_rows(void)
{
    for (int i = 0; i < 3; i++) buffer_free(&kept[i]);
}

/* One row, as the table has it, and as it is written again. */
static void rows(uint8_t which, struct bytes row)
{
    struct keygen_own *own = xcalloc(1, sizeof *own);
    struct keygen_received *received = xcalloc(1, sizeof *received);
    struct scalar share;
    buffer_append(&kept[which % 3], "", 0);
    buffer_append_bytes(&kept[which % 3], row);
    if (which % 3 == 0 && keygen_own_get(own, NULL, KEY_RECORDS, 1, N) == OK && own->exists)
        fuzz_taken = keygen_own_put(NULL, KEY_RECORDS, own, N) == OK;
    if (which % 3 == 1 && keygen_received_get(received, NULL, KEY_RECORDS, 1, N) == OK && received->any)
        fuzz_taken = keygen_received_put(NULL, KEY_RECORDS, 1, received, N) == OK;
    if (which % 3 == 2 && keygen_share_get(&share, NULL, KEY_RECORDS, 1) == OK)
        fuzz_taken = keygen_share_put(NULL, KEY_RECORDS, 1, &share) == OK;
    CHECK(bytes_equal(buffer_bytes(&kept[which % 3]), row));
    free(own);
    free(received);
    forget_rows();
}

/* --- what others dealt, and what the ledger says of it --- */

enum {
    S_ANSWER = 1,        /* the phase of answers, else that of confirming */
    S_ACTIVE = 2,        /* the key is active; with both, all is settled */
    S_OWN_LOST = 4,      /* the polynomial is not in the table */
    S_LIAR = 8,          /* member 3 dealt this node what is not on its polynomial, and says so in its hash */
    S_AWAY = 0x10,       /* member 4 has dealt nothing */
    S_ANSWERED = 0x20,   /* member 2's sub-share stands in the ledger */
    S_FILE = 0x40,       /* the share's file is there */
    S_OTHER_OWN = 0x80   /* the polynomial in the table is not the one that was committed to */
};

struct dealer {
    struct dkg_polynomial polynomial;
    struct dkg_commitments commitments;
    uint8_t sealed[N + 1][SEALED_SIZE]; /* for each member */
    uint8_t lie[SEALED_SIZE];           /* for this node */
};

static struct dealer dealers[N + 1];
static struct epoch epochs[2]; /* of all dealers, and without member 4 */
static char folder[FOLDER_PATH];
static struct keygen_agent *agent; /* that waits; NULL: in no phase */
static uint8_t scene;
static unsigned shares_held;
static struct state_read *reading;   /* under way in its driver */
static struct state_write *writing;

static void seal_to(uint8_t out[static SEALED_SIZE], const struct scalar *subshare, unsigned member)
{
    struct buffer sealed = {0};
    CHECK(seal_box(&sealed, &genesis.members[member - 1].keys.seal, BYTES(subshare->bytes)) == OK);
    memcpy(out, sealed.data, SEALED_SIZE);
    buffer_free(&sealed);
}

static void make_dealers(void)
{
    struct dkg_commitments all[N], sum;
    for (uint8_t i = 1; i <= N; i++) {
        struct dealer *d = &dealers[i];
        struct scalar subshare;
        d->polynomial.k = SEED_K;
        for (uint8_t j = 0; j < SEED_K; j++) d->polynomial.coefficients[j] = seed_scalar(i, j);
        dkg_commit(&d->commitments, &d->polynomial);
        all[i - 1] = d->commitments;
        for (unsigned member = 1; member <= N; member++) {
            dkg_subshare(&subshare, &d->polynomial, member);
            seal_to(d->sealed[member], &subshare, member);
        }
        subshare = seed_scalar('l', i);
        seal_to(d->lie, &subshare, SELF);
    }
    for (size_t i = 0; i < 2; i++) {
        epochs[i] = (struct epoch){.epoch = 1, .n = N, .b = 1, .k = SEED_K, .attempt = 1};
        CHECK(dkg_combine_commitments(&sum, all, NULL, N - i) == OK);
        epochs[i].key = sum.points[0];
        CHECK(dkg_verification_keys(epochs[i].verification, N, &sum) == OK);
    }
}

static bool has_dealt(unsigned i) { return i != 4 || !(scene & S_AWAY); }
static bool has_lied(unsigned i) { return i == 3 && scene & S_LIAR; }
static const uint8_t *box_of(unsigned i) { return has_lied(i) ? dealers[i].lie : dealers[i].sealed[SELF]; }

static member_mask dealt(void)
{
    member_mask mask = 0;
    for (unsigned i = 1; i <= N; i++) mask |= has_dealt(i) ? MEMBER_BIT(i) : 0;
    return mask;
}

static void fill_state(struct keygen_view *v)
{
    uint8_t context[KEYGEN_CONTEXT_SIZE];
    bool active = scene & S_ACTIVE;
    *v = (struct keygen_view){.confirm = true, .dealers = dealt(), .settled = (scene & 3) == 3,
                              .deadline_ms = UINT64_MAX};
    v->state = (struct keygen){.attempt = 1, .started = true, .committed = dealt(), .revealed = dealt(),
                               .phase = active ? KEYGEN_ACTIVE : scene & S_ANSWER ? KEYGEN_ANSWER : KEYGEN_CONFIRM};
    for (unsigned i = 1; i <= N; i++) {
        keygen_context(context, &genesis.cluster, KEY_RECORDS, 1, i);
        v->state.commitment[i] = dkg_commitments_hash(&dealers[i].commitments, BYTES(context));
    }
}

/* In place of what look_run reads of the ledger; its own rows it reads itself. */
static void fill_look(struct look *l)
{
    struct dealing *d = l->dealings;
    fill_state(&l->view);
    CHECK(keygen_own_get(&l->own, NULL, KEY_RECORDS, 1, N) == OK);
    CHECK(keygen_received_get(&l->received, NULL, KEY_RECORDS, 1, N) == OK);
    for (unsigned i = 1; i <= N; i++) {
        l->has_dealing[i] = has_dealt(i);
        d[i] = (struct dealing){.attempt = 1, .commitments = dealers[i].commitments};
        hash_sha256(&d[i].subshare_hash[SELF], box_of(i), SEALED_SIZE);
    }
    l->answered[2] = scene & S_ANSWERED;
    dkg_subshare(&l->answers[2], &dealers[2].polynomial, SELF);
    if (!(scene & S_ACTIVE)) return;
    l->epoch = epochs[!!(scene & S_AWAY)];
    l->has_share = keygen_share_get(&l->share, NULL, KEY_RECORDS, 1) == OK;
}

static void check_held(void *data, uint8_t secret, uint64_t epoch)
{
    struct point public_share;
    (void)data;
    const struct scalar *share = keygen_agent_share(agent, secret, epoch);
    CHECK(secret == KEY_RECORDS && epoch == 1 && share && scene & S_ACTIVE);
    point_multiply_generator(&public_share, share);
    CHECK(point_equal(&public_share, &epochs[!!(scene & S_AWAY)].verification[SELF - 1]));
    CHECK(shares_held++ == 0);
}

/* What it keeps of others is what they dealt. */
static member_mask check_received(void)
{
    struct keygen_received received;
    struct scalar expected;
    member_mask has = 0;
    CHECK(keygen_received_get(&received, NULL, KEY_RECORDS, 1, N) == OK);
    for (unsigned i = 1; i <= N; i++) {
        if (!received.has[i]) continue;
        has |= MEMBER_BIT(i);
        if (i == SELF && scene & S_OTHER_OWN) continue;
        dkg_subshare(&expected, &dealers[i].polynomial, SELF);
        CHECK(has_dealt(i) && !has_lied(i) && scalar_equal(&received.subshares[i], &expected));
    }
    return has;
}

/* --- around the agent --- */

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    struct unpack u = unpack_start(body);
    (void)p, (void)id;
    CHECK(agent && index >= 1 && index <= N && index != SELF); /* else nothing was dealt, so nothing is given */
    unpack_array_of(&u, type == PEER_SUBSHARE ? 4 : 2);
    CHECK(unpack_uint(&u) == KEY_RECORDS && unpack_uint(&u) == 1);
    if (type == PEER_SUBSHARE) {
        uint8_t sealed[SEALED_SIZE];
        CHECK(unpack_uint(&u) == SELF);
        unpack_bin_exact(&u, sealed, sizeof sealed);
        CHECK(!(scene & S_OWN_LOST) && memcmp(sealed, dealers[SELF].sealed[index], sizeof sealed) == 0);
    }
    CHECK(unpack_done(&u) == OK);
    return OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    (void)d;
    if (!agent) return ERR_BUSY;
    CHECK(!reading && r->fresh);
    reading = r;
    return OK;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    (void)d;
    CHECK(agent && !writing && w->durable);
    writing = w;
    return OK;
}

/* Until nothing is under way. */
static void drive(void)
{
    for (unsigned turns = 0; reading || writing; turns++) {
        struct state_read *r = reading;
        struct state_write *w = writing;
        CHECK(turns < 100);
        reading = NULL;
        writing = NULL;
        if (r) fill_look(agent->next);
        if (r) r->done(r, OK);
        if (w) w->done(w, w->run(w, NULL, NULL));
    }
}

/* It confirms what it has, and complains of others only. */
enum err driver_submit(struct driver *d, struct submission *s)
{
    struct request request;
    struct args_key_confirm c;
    (void)d;
    CHECK(agent && request_decode(&request, buffer_bytes(&s->request)) == OK && request.count == 1);
    const struct operation *op = &request.items[0].operation;
    if (op->action == ACTION_KEY_CONFIRM) {
        CHECK(args_key_confirm_decode(&c, op->args) == OK && c.attempt == 1);
        member_mask has = check_received();
        CHECK(!(c.complaints & (has | MEMBER_BIT(SELF))) && !(c.complaints & ~dealt()));
        CHECK(!c.complaints || (has | c.complaints) == dealt() || scene & S_ACTIVE);
        if (!c.complaints) CHECK(has == dealt());
    }
    request_free(&request);
    return ERR_BUSY;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = (struct driver_status){.leader = 2};
}

/* --- messages --- */

static struct keygen_agent *start_agent(const struct seal_key *key)
{
    struct keygen_agent *a;
    struct keygen_agent_options o = {.loop = &loop, .genesis = &genesis, .self = SELF, .keys = &secrets,
                                     .directory = folder, .storage_key = key, .on_share = check_held};
    CHECK(keygen_agent_start(&a, &o, NULL) == OK);
    return a;
}

static void end_agent(struct keygen_agent *a)
{
    keygen_agent_stop(a);
    uv_run(&loop, UV_RUN_DEFAULT);
    keygen_agent_free(a);
}

static void messages(struct bytes in)
{
    struct keygen_agent *a = start_agent(NULL);
    while (in.size >= 2) {
        size_t size = in.data[1] < in.size - 2 ? in.data[1] : in.size - 2;
        uint32_t type = in.data[0] & 1 ? PEER_SUBSHARE : PEER_SUBSHARE_ASK;
        keygen_agent_message(a, in.data[0] >> 1, type, 0, bytes_of(in.data + 2, size));
        in = bytes_of(in.data + 2 + size, in.size - 2 - size);
    }
    end_agent(a);
}

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *in) { return in->at < in->end ? *in->at++ : 0; }

/* What the dealer has for this node, or that with a change. */
static void send_box(unsigned from, struct input *in)
{
    uint8_t change = take(in), sealed[SEALED_SIZE];
    struct buffer body = {0};
    memcpy(sealed, box_of(from), sizeof sealed);
    if (change & 8) sealed[take(in) % SEALED_SIZE] ^= take(in);
    pack_array(&body, 4);
    pack_uint(&body, change & 1 ? KEY_PASSWORDS : KEY_RECORDS);
    pack_uint(&body, change & 2 ? 2 : 1);
    pack_uint(&body, change & 4 ? from % N + 1 : from);
    pack_bin(&body, sealed, SEALED_SIZE - (change & 16 ? 1 : 0));
    keygen_agent_message(agent, from, PEER_SUBSHARE, 0, buffer_bytes(&body));
    buffer_free(&body);
}

static void ask_for_own(unsigned from, struct input *in)
{
    struct buffer body = {0};
    uint8_t change = take(in);
    pack_array(&body, 2);
    pack_uint(&body, change & 1 ? KEY_PASSWORDS : KEY_RECORDS);
    pack_uint(&body, change & 2 ? 2 : 1);
    keygen_agent_message(agent, from, PEER_SUBSHARE_ASK, 0, buffer_bytes(&body));
    buffer_free(&body);
}

/* So that what waits for a while is due. */
static void let_time_pass(void)
{
    agent->phase_ns -= UINT64_C(10) * 1000000000;
    agent->asked_ns = 0;
    memset(agent->submitted_ns, 0, sizeof agent->submitted_ns);
    keygen_agent_look(agent);
}

static void store_file(const struct seal_key *key, struct input *in)
{
    char path[FOLDER_PATH];
    struct scalar share = scalar_from_uint(take(in));
    struct buffer plain = {0};
    folder_join(path, folder, "key-share-1-1");
    for (unsigned i = 1; scalar_is_zero(&share) && i <= N - !!(scene & S_AWAY); i++) {
        struct scalar subshare;
        dkg_subshare(&subshare, &dealers[i].polynomial, SELF);
        buffer_append(&plain, &subshare, sizeof subshare);
    }
    if (plain.size) dkg_combine_subshares(&share, (const struct scalar *)plain.data, NULL, plain.size / sizeof share);
    uint8_t how = take(in) % 3;
    if (how == 2) CHECK(mkdir(path, 0700) == 0); /* somebody's folder has its name */
    else CHECK(files_write_sealed(path, key, "consilium/key-share", bytes_of(share.bytes, 32 - how), NULL) == OK);
    buffer_free(&plain);
}

static void keep_own(bool other)
{
    struct keygen_own own = {.exists = true, .attempt = 1, .polynomial = dealers[SELF].polynomial};
    memcpy(own.sealed, dealers[SELF].sealed, sizeof own.sealed[0] * (N + 1));
    if (other) own.polynomial = dealers[2].polynomial;
    CHECK(keygen_own_put(NULL, KEY_RECORDS, &own, N) == OK);
}

static void send_raw(unsigned from, uint32_t type, struct input *in)
{
    size_t size = take(in), left = (size_t)(in->end - in->at);
    if (size > left) size = left;
    keygen_agent_message(agent, from, type, 0, bytes_of(in->at, size));
    in->at += size;
}

static void happen(struct input *in)
{
    uint8_t what = take(in);
    unsigned from = 2 + what / 4 % (N - 1);
    switch (what % 4) {
    case 0: send_box(from, in); break;
    case 1: ask_for_own(from, in); break;
    case 2: let_time_pass(); break;
    case 3: send_raw(from, what & 0x40 ? PEER_SUBSHARE : PEER_SUBSHARE_ASK, in); break;
    }
    drive();
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void waiting(struct input *in)
{
    static const struct seal_key key = {.bytes = "fuzz"};
    char path[FOLDER_PATH];
    scene = take(in);
    shares_held = 0;
    folder_join(path, folder, "key-share-1-1");
    if (scene & S_FILE) store_file(&key, in);
    if (!(scene & S_OWN_LOST)) keep_own(scene & S_OTHER_OWN);
    agent = start_agent(&key);
    keygen_agent_look(agent);
    drive();
    while (in->at < in->end) happen(in);
    let_time_pass();
    drive();
    member_mask has = check_received();
    fuzz_taken = has != 0 || shares_held;
    if (scene & S_ACTIVE && has == dealt() && !(scene & S_OTHER_OWN)) CHECK(shares_held == 1 || is_folder(path));
    if ((scene & (S_ACTIVE | S_ANSWER)) == (S_ACTIVE | S_ANSWER) && shares_held)
        CHECK(!kept[0].data && !kept[1].data && kept[2].data); /* all is wiped but the share */
    end_agent(agent);
    agent = NULL;
    if (unlink(path) != 0) rmdir(path);
    forget_rows();
}

static void remove_folder(void) { folder_remove(folder); }

static void set_up(void)
{
    static struct buffer text;
    crypto_init();
    log_setup(LOG_ERROR + 1, false);
    sample_genesis_parsed(&genesis, &text, N, 1);
    CHECK(genesis.quorum == SEED_K);
    sample_node_secrets(&secrets, SELF);
    folder_make(folder, 1);
    CHECK(atexit(remove_folder) == 0);
    make_dealers();
    uv_loop_init(&loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!genesis.member_count) set_up();
    if (size == 0) return 0;
    if (data[0] >= 0xc0)
        waiting(&(struct input){data + 1, data + size});
    else if (data[0] & 0x80)
        messages(bytes_of(data + 1, size - 1));
    else
        rows(data[0], bytes_of(data + 1, size - 1));
    return 0;
}
