/* consensus/driver.h: one node of four, on the log and the store that it had when the four stopped, among peers whom
 * the input plays: messages of any bytes, and well-formed ones that are signed by whoever the input likes. The node
 * neither falls nor stops for any of them, nor names anybody without a proof (the bed looks at that).
 *
 * The first byte chooses how it starts and ends; then a list of steps: what comes, from whom, three numbers. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "consensus/peer_messages.h"
#include "net/peers.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/folder.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

#define N 4
#define SELF 1
#define ENTRIES 6    /* requests in the log */
#define DAMAGED 3    /* an index of an entry that is damaged in the second image */
#define STEPS_MOST 64
#define FILES_MOST 8   /* in a node's folder */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bed bed;
static struct driver *d; /* the node's */
static uint64_t last, term; /* of the log in the images */
static uint64_t block_ms;   /* of blocks made here: what is meant to be the same block is */

/* --- what it starts from --- */

/* A file of an image. What follows its last byte that isn't zero is left as a hole, as most of a segment is. */
struct file {
    char name[64];
    struct buffer content; /* up to there */
    size_t size;
};

static const char *const parts[] = {"log", "store"};
static struct image { /* of a node's folder */
    struct file files[FILES_MOST];
    unsigned count, of_log; /* the first ones are the log's */
} images[2]; /* whole; with a damaged entry */

static void load_file(struct file *f, const char *folder, const char *name)
{
    CHECK((size_t)snprintf(f->name, sizeof f->name, "%s", name) < sizeof f->name);
    f->content = folder_load(folder, name);
    f->size = f->content.size;
    while (f->content.size > 0 && f->content.data[f->content.size - 1] == 0) f->content.size--;
}

static void load_image(struct image *image, const char *node)
{
    for (unsigned i = 0; i < 2; i++) {
        char folder[FOLDER_PATH];
        folder_join(folder, node, parts[i]);
        DIR *directory = opendir(folder);
        CHECK(directory);
        for (struct dirent *e; (e = readdir(directory)) != NULL;) {
            if (e->d_name[0] == '.') continue;
            CHECK(image->count < FILES_MOST);
            load_file(&image->files[image->count++], folder, e->d_name);
        }
        closedir(directory);
        if (i == 0) image->of_log = image->count;
    }
}

static void store_image(const struct image *image, const char *node)
{
    for (unsigned i = 0; i < 2; i++) {
        char folder[FOLDER_PATH], path[FOLDER_PATH];
        folder_join(folder, node, parts[i]);
        folder_remove(folder);
        CHECK(mkdir(folder, 0700) == 0);
        for (unsigned f = i ? image->of_log : 0; f < (i ? image->count : image->of_log); f++) {
            folder_store(folder, image->files[f].name, buffer_bytes(&image->files[f].content));
            folder_join(path, folder, image->files[f].name);
            CHECK(truncate(path, (off_t)image->files[f].size) == 0);
        }
    }
}

static bool damage_block(void *data, const struct log_record *record)
{
    const char *folder = data;
    char path[FOLDER_PATH];
    uint8_t byte;
    if (record->type != LOG_BLOCK || record->index != DAMAGED) return true;
    if (record->file[0] == '/')
        snprintf(path, sizeof path, "%s", record->file);
    else
        folder_join(path, folder, record->file);
    off_t at = (off_t)(record->offset + record->size - 20);
    int file = open(path, O_RDWR);
    CHECK(file >= 0 && pread(file, &byte, 1, at) == 1);
    byte ^= 0x40;
    CHECK(pwrite(file, &byte, 1, at) == 1);
    close(file);
    return false;
}

static void make_images(void)
{
    static const struct seal_key key = {{1, 2, 3}};
    char log[FOLDER_PATH];
    struct driver_status then;
    bed_start_all(&bed);
    unsigned leader = bed_await_leader(&bed);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct bed_request r;
        bed_event(&bed, &r, &bed.kit.root, 2 + i);
        CHECK(bed_submit(&bed, &r, leader, BED_PATIENCE_MS) == OK && bed_await(&bed, &r));
        bed_request_free(&r);
    }
    CHECK(bed_await_same(&bed, ENTRIES + 1));
    driver_status(bed.nodes[SELF].driver, &then);
    last = then.last;
    term = then.term;
    block_ms = clock_wall_ms();
    for (unsigned i = N; i >= 1; i--)
        bed_stop(&bed, i);
    load_image(&images[0], bed.nodes[SELF].folder);
    folder_join(log, bed.nodes[SELF].folder, "log");
    struct log_options options = {.directory = log, .name = "test", .key = &key};
    CHECK(log_visit(&options, damage_block, log, NULL) == OK);
    load_image(&images[1], bed.nodes[SELF].folder);
}

static void remove_folders(void)
{
    for (unsigned i = 1; i <= N; i++) folder_remove(bed.nodes[i].folder);
    folder_remove(bed.kit.folder);
}

static void ticks(unsigned count)
{
    while (count--) driver_tick(d);
}

/* --- well-formed messages --- */

static void give(unsigned from, uint32_t type, uint64_t id, struct buffer *body)
{
    CHECK(!body->failed);
    fuzz_taken = true; /* well-formed, as long as the encoders are the decoders' */
    driver_message(d, from, type, id, buffer_bytes(body));
    buffer_free(body);
}

static void give_raft(struct raft_message *m, unsigned from, uint64_t of_term)
{
    struct buffer body = {0};
    m->from = (raft_id)from;
    m->to = SELF;
    m->term = of_term;
    raft_message_encode(&body, NULL, m, PEER_VERSION);
    give(from, PEER_RAFT, 0, &body);
}

static const struct sign_secret *key_of(unsigned node) { return &bed.kit.nodes[node].message; }

static struct driver_status status(void)
{
    struct driver_status s;
    driver_status(d, &s);
    return s;
}

/* Of the log as it was in the images, or around its end as it is now (from 128 on): a start or a stop of one of those
 * who made the images may have added an entry. */
static uint64_t index_of(uint8_t n)
{
    uint64_t now = status().last;
    if (n >= 128) return now + 3 > n % 8u ? now + 3 - n % 8u : 1;
    return 1 + n % (last + 4);
}

static uint64_t term_of(uint8_t n) { return n >= 128 ? status().term + n % 8u : term - 1 + n % 5u; }

static void heartbeat(unsigned from, const uint8_t *s)
{
    struct raft_message m = {.type = RAFT_HEARTBEAT, .commit = index_of(s[2]), .durable = s[4] >> 2 & 15, .round = 1,
                             .sent = last};
    struct buffer statement = {0};
    struct block_place place = {.cluster = bed.kit.genesis.cluster, .term = term_of(s[3]), .index = m.commit};
    const struct head *head = d->raft ? driver_head(d, m.commit) : NULL;
    if (head) place.hash = head->hash;
    if (s[4] & 2) place.hash.bytes[0] ^= s[4];
    if (s[4] & 1) statement_sign(&statement, &place, key_of(from));
    m.extra = buffer_bytes(&statement);
    give_raft(&m, from, place.term);
    buffer_free(&statement);
}

static void make_request(struct buffer *out)
{
    struct arguments args = {.action = ACTION_EVENT_ADD};
    args.event_add = (struct args_event_add){sample_id(2), bytes_text("bill.print"), bytes_text("x")};
    bed.kit.now = clock_wall_ms();
    kit_request(&bed.kit, out, &bed.kit.root, &args, (struct bytes){0});
}

/* The bytes of a block that `from` signs, with a request or none. */
static void make_entry(struct buffer *out, uint64_t index, uint64_t of_term, unsigned from, uint8_t how)
{
    struct buffer request = {0};
    struct block_place place = {.cluster = bed.kit.genesis.cluster, .term = of_term, .index = index};
    if (how & 1) make_request(&request);
    struct bytes bytes = buffer_bytes(&request);
    CHECK(buffer_extend(out, ENTRY_HEAD));
    uint64_t ahead = how == 255 ? 86400000 : how & 2 ? 1 : 0; /* a day; the next millisecond */
    block_encode(out, block_ms + ahead, &bytes, how & 1);
    entry_sign(out, &place, from, key_of(from));
    buffer_free(&request);
}

static void append(unsigned from, const uint8_t *s)
{
    struct buffer bytes = {0};
    uint64_t index = index_of(s[2]), of_term = term_of(s[3]);
    raft_term before = d->raft && index > 1 ? raft_term_of(d->raft, index - 1) : 0;
    make_entry(&bytes, index, of_term, from, s[4]);
    struct raft_entry e = {.index = index, .term = of_term, .type = RAFT_ENTRY_BLOCK,
                           .blob = raft_blob_copy(buffer_bytes(&bytes))};
    struct raft_message m = {.type = RAFT_APPEND, .log = {index - 1, before}, .commit = s[4] >> 2 & 15,
                             .durable = s[4] >> 4, .round = 1, .entries = &e, .entry_count = 1};
    give_raft(&m, from, of_term);
    raft_blob_release(e.blob);
    buffer_free(&bytes);
}

/* A state of its leader's, with the members that it knows. */
static void snapshot(unsigned from, const uint8_t *s)
{
    static const uint8_t any[] = {1, 2, 3};
    if (!d->raft) return;
    struct raft_message m = {.type = RAFT_SNAPSHOT, .log = {index_of(s[3]), term_of(s[4])}, .round = 1,
                             .config = *raft_config_latest(d->raft, NULL), .manifest = raft_blob_copy(BYTES(any))};
    give_raft(&m, from, m.log.term);
    raft_blob_release(m.manifest);
}

/* The owner's word, or the time: by the bits of s[2]. */
static void other(unsigned from, const uint8_t *s)
{
    if (s[2] & 1) driver_stalled(d);
    if (s[2] & 2) snapshot(from, s);
    if (s[2] & 4) driver_contradicted(d, s[3] & 28, index_of(s[4]), "k nodes have another root");
    if (!(s[2] & 7)) ticks(20);
}

/* What it asks for when it wants to lead, and what it wants to hear then. */
static void answer(unsigned from, const uint8_t *s)
{
    static const enum raft_message_type types[] = {RAFT_PREVOTE_ANSWER, RAFT_VOTE_ANSWER, RAFT_APPEND_ANSWER,
                                                   RAFT_HEARTBEAT_ANSWER, RAFT_TIMEOUT_NOW};
    struct driver_status now = status();
    uint64_t match = s[3] & 2 ? now.last : s[4] % (now.last + 1);
    struct raft_message m = {.type = types[s[2] % 5], .proposed = now.term + 1, .granted = !(s[3] & 1), .round = 1,
                             .match = match, .checked = match};
    give_raft(&m, from, now.term);
}

static void heads(unsigned from, const uint8_t *s)
{
    struct buffer body = {0};
    uint64_t first = index_of(s[2]);
    uint32_t count = 1 + s[3] % 4;
    pack_array(&body, count);
    for (uint64_t i = first; i < first + count; i++) {
        const struct head *ours = d->raft ? driver_head(d, i) : NULL;
        struct statement block = {.kind = STATEMENT_BLOCK, .term = ours ? ours->term : term, .index = i};
        unsigned signer = ours && ours->signer && s[4] & 1 ? ours->signer : from;
        if (ours) block.hash = ours->hash;
        if (s[4] & 2) block.hash.bytes[1] ^= s[4];
        evidence_statement_sign(&block, &bed.kit.genesis.cluster, key_of(signer));
        pack_array(&body, 5);
        pack_uint(&body, i);
        pack_uint(&body, block.term);
        pack_uint(&body, signer);
        pack_digest(&body, &block.hash);
        pack_bin(&body, block.signature.bytes, sizeof block.signature.bytes);
    }
    give(from, PEER_HEADS, 0, &body);
}

/* An answer to what it asked last about a fork, or a question of that kind. */
static void withdrawn(unsigned from, const uint8_t *s)
{
    struct buffer body = {0};
    struct digest hash = {{s[3]}};
    bool asks = s[4] & 1;
    pack_array(&body, asks ? 3 : 6);
    pack_uint(&body, asks ? term_of(s[3]) : d->fork.last.term);
    pack_uint(&body, asks ? index_of(s[2]) : d->fork.last.index);
    pack_uint(&body, asks ? index_of(s[2]) : d->fork.index);
    if (!asks) {
        pack_uint(&body, s[4] & 2 ? d->fork.index : 0);
        pack_uint(&body, s[2] % 3);
        pack_digest(&body, &hash);
    }
    give(from, asks ? PEER_WITHDRAW : PEER_WITHDRAWN, 0, &body);
}

static void pack_claim(struct buffer *out, unsigned by, const uint8_t *s)
{
    static const char tag[] = "consilium/past/v1\n";
    uint8_t bytes[sizeof tag - 1 + 32 + 3 * 8];
    uint64_t numbers[3] = {term_of(s[2]), index_of(s[3]), s[4] % 16};
    struct signature signature;
    memcpy(bytes, tag, sizeof tag - 1);
    memcpy(bytes + sizeof tag - 1, bed.kit.genesis.cluster.bytes, 32);
    for (unsigned i = 0; i < 3; i++) put_be64(bytes + sizeof tag - 1 + 32 + 8 * i, numbers[i]);
    sign_message(&signature, key_of(by), BYTES(bytes));
    pack_array(out, 4);
    for (unsigned i = 0; i < 3; i++) pack_uint(out, numbers[i]);
    pack_bin(out, signature.bytes, sizeof signature.bytes);
}

static void past(unsigned from, const uint8_t *s)
{
    struct buffer body = {0};
    pack_array(&body, 2);
    pack_claim(&body, from, s);
    if (s[4] & 64)
        pack_claim(&body, SELF, s);
    else
        pack_array(&body, 0);
    give(from, PEER_PAST, 0, &body);
}

/* To one that was set back, if a claim said so, with its own nonce; or from one that says it was. */
static void rejoin(unsigned from, const uint8_t *s)
{
    struct buffer body = {0};
    struct rejoin_message m = {.step = REJOIN_ASK + (s[2] & 3), .nonce = s[4] & 32 ? d->rejoin.nonce : 1};
    m.term = s[4] & 16 ? d->term : term_of(s[3]);
    if (m.step != REJOIN_ASK) m.index = s[4] & 8 ? d->rejoin.point : index_of(s[3]);
    rejoin_encode(&body, &m);
    give(from, PEER_REJOIN, 0, &body);
}

/* Of two blocks that one member signed, or did not. */
static void evidence(unsigned from, const uint8_t *s)
{
    struct statement two[2];
    struct evidence e;
    struct buffer encoded = {0}, body = {0};
    unsigned signer = 2 + s[2] % (N - 1);
    for (unsigned i = 0; i < 2; i++) {
        two[i] = (struct statement){.kind = STATEMENT_BLOCK, .term = term, .index = index_of(s[3]),
                                    .hash = sample_digest(i ? s[4] : 1)};
        evidence_statement_sign(&two[i], &bed.kit.genesis.cluster, key_of(signer));
    }
    if (evidence_make(&e, &bed.kit.genesis, signer, &two[0], &two[1]) == OK) {
        if (s[4] & 1) e.second.signature.bytes[3] ^= 1;
        evidence_encode(&encoded, &e);
    }
    pack_array(&body, 1);
    pack_bytes(&body, buffer_bytes(&encoded));
    give(from, PEER_EVIDENCE, 0, &body);
    buffer_free(&encoded);
}

/* A question for an entry; or the answer to one: an entry that all who are asked give alike, or none. */
static void block(unsigned from, const uint8_t *s)
{
    struct buffer body = {0}, bytes = {0};
    uint64_t index = s[2] & 1 ? DAMAGED : index_of(s[2]);
    if (s[4] & 1) {
        pack_array(&body, 1);
        pack_uint(&body, index);
        give(from, PEER_BLOCK_ASK, s[3], &body);
        return;
    }
    if (s[4] & 2) make_entry(&bytes, index, term, 2, s[3] & 3);
    pack_array(&body, 4);
    pack_uint(&body, index);
    pack_uint(&body, s[4] & 2 ? term : 0);
    pack_uint(&body, s[4] & 2 ? RAFT_ENTRY_BLOCK : 0);
    pack_bytes(&body, buffer_bytes(&bytes));
    give(from, PEER_BLOCK, s[3] & 4 ? s[2] : UINT64_MAX, &body); /* to a question of before, or to the last one */
    buffer_free(&bytes);
}

static void forward(unsigned from, struct bytes rest, const uint8_t *s)
{
    struct buffer body = {0}, request = {0};
    if (s[2] & 1)
        make_request(&request);
    else
        buffer_append(&request, rest.data, rest.size < s[4] ? rest.size : s[4]);
    pack_array(&body, 2);
    pack_bytes(&body, buffer_bytes(&request));
    pack_bool(&body, s[3] & 1);
    give(from, PEER_FORWARD, 0, &body);
    buffer_free(&request);
}

static void raw(unsigned from, struct bytes rest, const uint8_t *s)
{
    static const uint32_t types[] = {PEER_RAFT, PEER_FORWARD, PEER_PAST, PEER_EVIDENCE, PEER_WITHDRAW, PEER_WITHDRAWN,
                                     PEER_HEADS_ASK, PEER_HEADS, PEER_BLOCK_ASK, PEER_BLOCK, PEER_REJOIN};
    size_t size = rest.size < s[4] ? rest.size : s[4];
    uint8_t *exact = xmalloc(size ? size : 1);
    if (size) memcpy(exact, rest.data, size);
    driver_message(d, from, types[s[2] % (sizeof types / sizeof types[0])], s[3], bytes_of(exact, size));
    free(exact);
}

/* --- steps --- */

static void wait_a_little(void) { bed_turn(&bed, 1); }

static void step(const uint8_t *s, struct bytes rest)
{
    unsigned from = 2 + s[1] % (N - 1);
    switch (s[0] % 16) {
    case 0: raw(from, rest, s); break;
    case 1: ticks(1 + s[2] % 64); break;
    case 2: wait_a_little(); break;
    case 3: s[2] & 1 ? driver_peer_up(d, from) : driver_peer_down(d, from); break;
    case 4: heartbeat(from, s); break;
    case 5: append(from, s); break;
    case 6: answer(from, s); break;
    case 7: driver_compare(d, from, index_of(s[2])); break;
    case 8: heads(from, s); break;
    case 9: withdrawn(from, s); break;
    case 10: s[4] & 128 ? rejoin(from, s) : past(from, s); break;
    case 11: evidence(from, s); break;
    case 12: block(from, s); break;
    case 13: forward(from, rest, s); break;
    case 14: driver_repair_log(d); break;
    case 15: other(from, s); break;
    }
    uv_run(&bed.loop, UV_RUN_NOWAIT);
}

static bool is_up(struct bed *b, void *data)
{
    (void)data;
    return b->nodes[SELF].driver->raft || b->nodes[SELF].driver->repair;
}

/* As when all links are up: else it gives no vote and no acknowledgement for a while. */
static void peers_tell_its_past(void)
{
    for (unsigned from = 1; from <= N; from++) {
        struct buffer nothing = {0};
        if (from == SELF) continue;
        pack_array(&nothing, 2);
        pack_array(&nothing, 0);
        pack_array(&nothing, 0);
        give(from, PEER_PAST, 0, &nothing);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (!bed.n) {
        bed_open(&bed, N, 1);
        make_images();
        atexit(remove_folders);
    }
    store_image(&images[data[0] & 1], bed.nodes[SELF].folder);
    bed.nodes[SELF].accept_loss = data[0] & 16;
    bed_start(&bed, SELF);
    d = bed.nodes[SELF].driver;
    CHECK(bed_until(&bed, BED_PATIENCE_MS, is_up, NULL));
    if (!(data[0] & 8)) peers_tell_its_past();
    for (unsigned i = 1, at = 1; at + 5 <= size && i <= STEPS_MOST; at += 5, i++) {
        step(data + at, bytes_of(data + at + 5, size - at - 5));
        CHECK(!bed.nodes[SELF].fatal);
    }
    if (data[0] & 2) wait_a_little();
    if (data[0] & 4)
        bed_stop(&bed, SELF);
    else
        bed_crash(&bed, SELF);
    return 0;
}
