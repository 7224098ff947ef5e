/* A monitor of a third party: HTTP to real nodes, the tree recomputed from the tiles alone, and
 * what auditors export, checked by ours and by code that shares nothing with ours. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/files.h"
#include "ledger/checkpoint.h"
#include "ledger/tree.h"
#include "net/client.h"
#include "net/leaf_pack.h"
#include "tests/lib/attacker.h"
#include "tests/lib/thirdparty.h"
#include "tests/lib/unit.h"

#define LONG_MS 60000
#define FRAIL 2

static struct testbed bed;
static struct attacker them;
static char doctor_id[ID_TEXT_SIZE], patient_id[ID_TEXT_SIZE], auditor_id[ID_TEXT_SIZE];
static struct signer doctor;
static struct buffer out, errors, request;
static bool have_go;

static const char *text(void) { return out.data ? (const char *)out.data : ""; }
static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

/* --- HTTP --- */

struct web {
    unsigned status;
    struct buffer head, body; /* the head ends in a zero byte */
};

static void web_free(struct web *w)
{
    buffer_free(&w->head);
    buffer_free(&w->body);
}

static struct client *web_connect(unsigned node)
{
    const struct descriptor *d = genesis_member(&them.cluster.genesis, node);
    struct address to;
    struct client *c;
    struct failure failure = {0};
    assert_int_equal(address_parse(&to, d->address, false, NULL), OK);
    struct client_options options = {.alpn = TLS_ALPN_HTTP, .timeout_ms = LONG_MS};
    if (client_connect(&c, them.cluster.tls, &to, &d->tls_pin, &options, &failure) != OK) fail_msg("%s", failure.text);
    return c;
}

static void web_write(struct client *c, const char *bytes)
{
    assert_int_equal(client_write(c, bytes_text(bytes), LONG_MS, NULL), OK);
}

static bool read_byte(struct client *c, struct buffer *to)
{
    size_t got = 0;
    uint8_t byte = 0;
    if (client_read(c, &byte, 1, &got, LONG_MS, NULL) != OK || got == 0) return false;
    buffer_append(to, &byte, 1);
    return true;
}

static const char *field(const struct web *w, const char *name)
{
    static char value[300];
    char line[80];
    snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *at = strstr((const char *)w->head.data, line);
    if (!at) return "";
    at += strlen(line);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

/* The next answer; false: the connection ended before one. */
static bool web_read(struct client *c, struct web *w, bool head_only)
{
    buffer_clear(&w->head);
    buffer_clear(&w->body);
    while (w->head.size < 4 || memcmp(w->head.data + w->head.size - 4, "\r\n\r\n", 4) != 0)
        if (!read_byte(c, &w->head)) return false;
    buffer_append(&w->head, "", 1);
    assert_int_equal(sscanf((const char *)w->head.data, "HTTP/1.1 %u ", &w->status), 1);
    size_t size = head_only || w->status == 304 ? 0 : (size_t)atol(field(w, "Content-Length"));
    while (w->body.size < size)
        if (!read_byte(c, &w->body)) return false;
    return true;
}

static unsigned web_get(struct client *c, struct web *w, const char *path)
{
    char line[700];
    snprintf(line, sizeof line, "GET %s HTTP/1.1\r\nHost: node\r\n\r\n", path);
    web_write(c, line);
    if (!web_read(c, w, false)) fail_msg("no answer to %s", path);
    return w->status;
}

static unsigned status_of(const char *bytes)
{
    struct web w = {0};
    struct client *c = web_connect(1);
    web_write(c, bytes);
    unsigned status = web_read(c, &w, false) ? w.status : 0;
    web_free(&w);
    client_close(c);
    return status;
}

/* --- the cluster --- */

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    bed.program[FRAIL] = "frail --orders nothing"; /* it is for its clock */
    have_go = thirdparty_build(&bed);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_user(&bed, "doctor", "Hospital 1", "doctor", doctor_id);
    testbed_user(&bed, "patient", "Hospital 1", "patient", patient_id);
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", auditor_id);
    attacker_open(&them, &bed);
    doctor = attacker_signer(&them, "doctor");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    signer_close(&doctor);
    attacker_close(&them);
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
    buffer_free(&request);
    return 0;
}

static struct checkpoint take_checkpoint(struct client *c)
{
    struct web w = {0};
    struct checkpoint checkpoint;
    assert_int_equal(web_get(c, &w, "/checkpoint"), 200);
    assert_int_equal(checkpoint_verify(&checkpoint, buffer_bytes(&w.body), &them.cluster.genesis), OK);
    web_free(&w);
    return checkpoint;
}

/* An entry each; the ledger has exactly `size` then, and that is co-signed as node 1 says. */
static void grow_to(uint64_t size)
{
    struct client *c = attacker_greet(&them, 1), *web = web_connect(1);
    struct said answer = {0};
    struct message_result result;
    uint64_t last = attacker_mark(&them, 1).size;
    assert_true(last <= size);
    while (last < size) {
        struct arguments args = {.action = ACTION_EVENT_ADD, .event_add = {.what = bytes_text("bill")}};
        assert_int_equal(id_parse(&args.event_add.patient, patient_id), OK);
        attacker_request(&request, &them, &doctor, &args, (struct bytes){0}, NULL);
        attacker_submit(&them, c, &answer, &result, buffer_bytes(&request));
        assert_int_equal(result.code, OK);
        last = result.leaf_index + 1;
    }
    uint64_t end = clock_monotonic_ns() + 60000000000u;
    while (take_checkpoint(web).size < size && clock_monotonic_ns() < end)
        usleep(20000);
    assert_int_equal(take_checkpoint(web).size, size);
    said_free(&answer);
    client_close(c);
    client_close(web);
}

/* --- the tree from tiles alone, by RFC 9162 as it stands there --- */

static struct digest mth(const struct digest *leaves, uint64_t n)
{
    struct digest root;
    uint64_t k = 1;
    if (n == 1) return leaves[0];
    while (k * 2 < n)
        k *= 2;
    struct digest left = mth(leaves, k), right = mth(leaves + k, n - k);
    tree_node_hash(&root, &left, &right);
    return root;
}

static void get_tile(struct client *c, struct digest *hashes, unsigned level, uint64_t index, uint64_t width)
{
    struct web w = {0};
    char path[80], partial[20] = "";
    assert_true(index < 1000);
    if (width < 256) snprintf(partial, sizeof partial, ".p/%u", (unsigned)width);
    snprintf(path, sizeof path, "/tile/%u/%03u%s", level, (unsigned)index, partial);
    if (web_get(c, &w, path) != 200) fail_msg("%s: %u", path, w.status);
    assert_string_equal(field(&w, "Content-Type"), "application/octet-stream");
    assert_non_null(strstr(field(&w, "Cache-Control"), "immutable"));
    assert_int_equal(w.body.size, width * 32);
    memcpy(hashes, w.body.data, w.body.size);
    web_free(&w);
}

static void expect_status(struct client *c, const char *path, unsigned status)
{
    struct web w = {0};
    if (web_get(c, &w, path) != status) fail_msg("%s: %u, not %u", path, w.status, status);
    web_free(&w);
}

static void check_tree(unsigned node, uint64_t size)
{
    struct client *c = web_connect(node);
    struct checkpoint checkpoint = take_checkpoint(c);
    if (size) assert_int_equal(checkpoint.size, size);
    size = checkpoint.size;
    struct digest *leaves = xcalloc(size, sizeof *leaves), above[256];
    for (uint64_t n = 0; n * 256 < size; n++)
        get_tile(c, leaves + n * 256, 0, n, size - n * 256 < 256 ? size - n * 256 : 256);
    struct digest root = mth(leaves, size);
    assert_memory_equal(&root, &checkpoint.root, sizeof root);
    if (size >= 256) {
        get_tile(c, above, 1, 0, size / 256);
        for (uint64_t n = 0; n < size / 256; n++) {
            root = mth(leaves + n * 256, 256);
            assert_memory_equal(&above[n], &root, sizeof root);
        }
    }
    char path[80];
    snprintf(path, sizeof path, "/tile/0/%03u%s", (unsigned)(size / 256 + (size % 256 != 0)), "");
    expect_status(c, path, 404);
    if (size < 256) expect_status(c, "/tile/0/000", 404);
    if (size < 256) expect_status(c, "/tile/1/000.p/1", 404);
    expect_status(c, "/tile/2/000.p/1", 404);
    free(leaves);
    client_close(c);
}

static void the_root_follows_from_the_tiles_of_any_size(void **state)
{
    (void)state;
    check_tree(1, 0);
    static const uint64_t sizes[] = {255, 256, 257, 300, 513};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grow_to(sizes[i]);
        check_tree(1, sizes[i]);
    }
    for (unsigned node = 2; node <= 4; node++)
        check_tree(node, 0); /* whatever each has heard of */
}

static void a_third_party_follows_the_tiles(void **state)
{
    (void)state;
    char expected[120], hex[65];
    if (!have_go) skip();
    testbed_expect(&bed, 0, &out, "node keys");
    char keys[400];
    snprintf(keys, sizeof keys, "%s/keys", bed.dir);
    assert_int_equal(file_write(keys, bytes_text(text()), 0600, false, NULL), OK);
    const struct genesis *g = &them.cluster.genesis;
    struct client *c = web_connect(2);
    struct checkpoint checkpoint = take_checkpoint(c);
    hex_format(hex, checkpoint.root.bytes, 32);
    snprintf(expected, sizeof expected, "%llu %s\n", (unsigned long long)checkpoint.size, hex);
    int code = thirdparty_run(&bed, &out, "tiles -origin %s -keys %s -quorum %u https://127.0.0.1:%u",
                              g->checkpoint_origin, keys, g->quorum, bed.ports[2]);
    if (code != 0) fail_msg("the third party refuses our tiles; see thirdparty.err");
    assert_string_equal(text(), expected);
    client_close(c);
}

/* --- the checkpoint, and what else there is --- */

static void the_checkpoint_is_asked_for_again_with_its_tag(void **state)
{
    (void)state;
    struct client *c = web_connect(3);
    struct web w = {0};
    char line[400];
    assert_int_equal(web_get(c, &w, "/checkpoint"), 200);
    assert_string_equal(field(&w, "Content-Type"), "text/plain; charset=utf-8");
    assert_string_equal(field(&w, "Cache-Control"), "no-cache");
    snprintf(line, sizeof line, "GET /checkpoint HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"other\", %s\r\n\r\n",
             field(&w, "ETag"));
    web_write(c, line);
    assert_true(web_read(c, &w, false));
    assert_int_equal(w.status, 304);
    web_write(c, "HEAD /checkpoint HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"other\"\r\n\r\n");
    assert_true(web_read(c, &w, true));
    assert_int_equal(w.status, 200);
    assert_true(atoi(field(&w, "Content-Length")) > 200);
    assert_int_equal(web_get(c, &w, "/health"), 200); /* nothing came after the head */
    assert_string_equal((buffer_append(&w.body, "", 1), (char *)w.body.data), "ready\n");
    web_free(&w);
    client_close(c);
}

static void nothing_of_a_person_is_public(void **state)
{
    (void)state;
    struct client *c = web_connect(1);
    struct web w = {0};
    assert_int_equal(web_get(c, &w, "/tile/entries/000"), 403);
    assert_non_null(memmem(w.body.data, w.body.size, "consilium export", 16));
    assert_int_equal(web_get(c, &w, "/tile/entries/000.p/1"), 403);
    assert_int_equal(web_get(c, &w, "/metrics"), 200);
    buffer_append(&w.body, "", 1);
    const char *metrics = (const char *)w.body.data;
    assert_null(strstr(metrics, patient_id));
    assert_non_null(strstr(metrics, "\nconsilium_witnessed_size "));
    assert_non_null(strstr(metrics, "\nconsilium_http_requests_total "));
    assert_non_null(strstr(metrics, "\nconsilium_scrub_bytes_total "));
    assert_non_null(strstr(metrics, "\nconsilium_log_filled_permille ")); /* these fall, too */
    assert_non_null(strstr(metrics, "\nconsilium_scrub_permille "));
    for (const char *line = metrics; *line; line += strcspn(line, "\n") + 1) { /* Prometheus' text format */
        char name[100], kind[20];
        double value;
        bool type = sscanf(line, "# TYPE %99[a-z_0-9] %19[a-z]\n", name, kind) == 2;
        if (!type && sscanf(line, "%99[a-z_0-9] %lf\n", name, &value) != 2) fail_msg("%.60s", line);
    }
    static const char *const none[] = {
        "/",           "/tile/0/0",         "/tile/0/x000/000", "/tile/99/000", "/checkpoint/",
        "/../genesis", "/tile/0/%30%30%30", "/tile/7/000",      "/tile/0/999"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        expect_status(c, none[i], 404);
    web_free(&w);
    client_close(c);
}

static void set_clock(const char *order)
{
    char path[400], written[420];
    snprintf(path, sizeof path, "%s/node-%d.clock", bed.dir, FRAIL);
    snprintf(written, sizeof written, "%s~", path);
    FILE *f = fopen(written, "w");
    assert_non_null(f);
    fputs(order, f);
    fclose(f);
    assert_int_equal(rename(written, path), 0);
}

/* Waits until /health of the frail node says so, and that it serves. */
static void await_health(struct client *c, const char *says)
{
    struct web w = {0};
    uint64_t until = clock_monotonic_ns() + LONG_MS * 1000000ull;
    for (bool said_so = false; !said_so; usleep(50000)) {
        unsigned status = web_get(c, &w, "/health");
        buffer_append(&w.body, "", 1);
        const char *health = (const char *)w.body.data;
        said_so = status == 200 && strstr(health, says);
        if (clock_monotonic_ns() > until) fail_msg("/health says %s", health);
    }
    web_free(&w);
}

static double clock_ahead(struct client *c)
{
    static const char name[] = "\nconsilium_clock_ahead_seconds ";
    struct web w = {0};
    assert_int_equal(web_get(c, &w, "/metrics"), 200);
    buffer_append(&w.body, "", 1);
    const char *at = strstr((const char *)w.body.data, name);
    assert_non_null(at);
    double ahead = atof(at + strlen(name));
    web_free(&w);
    return ahead;
}

static void a_clock_that_is_off_is_shown(void **state)
{
    (void)state;
    struct client *c = web_connect(FRAIL);
    set_clock("600000 1");
    await_health(c, "s ahead of the others'");
    assert_true(clock_ahead(c) > 30);
    set_clock("-600000 1");
    await_health(c, "s behind the others'");
    assert_true(clock_ahead(c) < -30);
    set_clock("0 1");
    await_health(c, "ready\n");
    assert_true(clock_ahead(c) < 30);
    client_close(c);
}

/* --- clients that are not polite --- */

static void each_wrong_request_has_its_status(void **state)
{
    (void)state;
    char longest[LIMIT_HTTP_HEAD + 200];
    assert_int_equal(status_of("POST /checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"), 405);
    assert_int_equal(status_of("GET /checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"), 413);
    assert_int_equal(status_of("GET /checkpoint HTTP/1.1\r\n\r\n"), 400);
    assert_int_equal(status_of("GET /checkpoint HTTP/3.0\r\nHost: a\r\n\r\n"), 505);
    assert_int_equal(status_of("\x01\x02\x03\x04"), 501);
    snprintf(longest, sizeof longest, "GET /%0600d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    assert_int_equal(status_of(longest), 414);
    snprintf(longest, sizeof longest, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", (int)LIMIT_HTTP_HEAD, 0);
    assert_int_equal(status_of(longest), 431);
    assert_int_equal(status_of("GET /health HTTP/1.0\r\n\r\n"), 200);
}

static void many_requests_at_once_are_answered_in_order(void **state)
{
    (void)state;
    static const char *const paths[] = {"/tile/0/000", "/health", "/nothing", "/tile/1/000.p/1"};
    static const unsigned statuses[] = {200, 200, 404, 200};
    struct client *c = web_connect(4);
    struct web w = {0};
    struct buffer all = {0};
    for (unsigned i = 0; i < 200; i++)
        buffer_printf(&all, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i % 4]);
    buffer_append_text(&all, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /health HTTP/1.1\r\n");
    assert_int_equal(client_write(c, buffer_bytes(&all), LONG_MS, NULL), OK);
    for (unsigned i = 0; i < 200; i++) {
        assert_true(web_read(c, &w, false));
        assert_int_equal(w.status, statuses[i % 4]);
        assert_string_equal(field(&w, "Connection"), "keep-alive");
    }
    assert_true(web_read(c, &w, false));
    assert_string_equal(field(&w, "Connection"), "close");
    assert_false(web_read(c, &w, false));
    buffer_free(&all);
    web_free(&w);
    client_close(c);
}

/* Half a request on each of many connections, and some that ask without reading: others are served meanwhile,
 * and who never finishes is told so. */
static void slow_clients_do_not_hold_up_others(void **state)
{
    (void)state;
    enum { SLOW = 40 };
    struct client *slow[SLOW];
    struct web w = {0};
    for (unsigned i = 0; i < SLOW; i++) {
        slow[i] = web_connect(1);
        for (unsigned n = 0; n < (i % 2 ? 1u : 40u); n++)
            web_write(slow[i], i % 2 ? "GET /tile/0/000 HT" : "GET /tile/0/000 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    check_tree(1, 0);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-1 event add %s bill.print B-1", bed.dir, patient_id);
    assert_true(web_read(slow[1], &w, false));
    assert_int_equal(w.status, 408);
    assert_false(web_read(slow[1], &w, false));
    for (unsigned n = 0; n < 40; n++) { /* who reads late gets all */
        assert_true(web_read(slow[0], &w, false));
        assert_int_equal(w.body.size, 8192);
    }
    for (unsigned i = 0; i < SLOW; i++)
        client_close(slow[i]);
    web_free(&w);
}

/* --- export --- */

static const char *in_bed(const char *name)
{
    static char paths[4][400];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", bed.dir, name);
    return path;
}

static void expect_export(int code, const char *words, const char *options)
{
    int got = testbed_cli(&bed, &out, &errors, "-i %s/auditor.key export %s", bed.dir, options);
    if (got != code || !strstr(said(), words))
        fail_msg("export %s: %d, not %d with \"%s\"\n%s%s", options, got, code, words, text(), said());
}

static void expect_verified(int code, const char *words, const char *folder)
{
    int got = testbed_cli(&bed, &out, &errors, "export verify %s", in_bed(folder));
    if (got != code || !(strstr(said(), words) || strstr(text(), words)))
        fail_msg("export verify %s: %d, not %d with \"%s\"\n%s%s", folder, got, code, words, text(), said());
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[900], line[1400];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    snprintf(line, sizeof line, "cd '%s' && %s", bed.dir, command);
    if (system(line) != 0) fail_msg("%s failed", line);
}

/* Of byte 40. A given value might stand there already: hashes and signatures have all. */
static void turn_bit(const char *name)
{
    uint8_t byte = 0;
    int file = open(in_bed(name), O_RDWR);
    assert_true(file >= 0 && pread(file, &byte, 1, 40) == 1);
    byte ^= 1;
    assert_int_equal(pwrite(file, &byte, 1, 40), 1);
    close(file);
}

static void a_bundle_proves_itself(void **state)
{
    (void)state;
    char options[500];
    snprintf(options, sizeof options, "-o %s", in_bed("all"));
    expect_export(0, "each proved", options);
    expect_verified(0, "verdict: genuine", "all");
    snprintf(options, sizeof options, "--from 260 --to 300 -o %s", in_bed("part"));
    expect_export(0, "entries 256 to 511", options);
    expect_verified(0, "256 entries from 256 to 511", "part");
    expect_verified(1, "is no folder", "nowhere"); /* a slip, and no finding */
    expect_verified(1, "is no folder", "all/checkpoint");
    shell("mkdir empty");
    expect_verified(6, "has no checkpoint", "empty");
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action ledger.export -n 1", bed.dir);
    assert_non_null(strstr(text(), auditor_id));
    if (!have_go) return;
    const struct genesis *g = &them.cluster.genesis;
    assert_int_equal(thirdparty_run(&bed, &out, "bundle -origin %s -keys %s -quorum %u %s", g->checkpoint_origin,
                                    in_bed("keys"), g->quorum, in_bed("all")),
                     0);
}

/* One bit in each file, and each file gone. */
static void an_altered_bundle_is_refused(void **state)
{
    (void)state;
    static const char *const files[] = {"checkpoint", "tile/entries/000", "tile/entries/001", "tile/0/001",
                                        "tile/1/000.p/2"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "bad/%s", files[i]);
        shell("rm -rf bad && cp -a all bad");
        turn_bit(name);
        expect_verified(6, "", "bad");
    }
    shell("rm -rf bad && cp -a all bad && rm bad/tile/entries/001");
    expect_verified(6, "entries 256 to 511 are missing", "bad");
    shell("rm bad/range");
    expect_verified(6, "", "bad"); /* a hole */
    shell("rm -rf bad && cp -a all bad && rm bad/range bad/tile/entries/000");
    expect_verified(0, "range: not stated", "bad");
    expect_verified(6, "entries 0 to 255 are missing", "bad --from 0 --to 300");
    expect_verified(0, "verdict: genuine", "bad --from 256 --to 300");
    shell("rm bad/checkpoint");
    expect_verified(6, "unfinished", "bad");
    shell("rm -rf bad && cp -a all bad && rm bad/tile/1/000.p/2");
    expect_verified(6, "", "bad");
    shell("rm -rf bad && mkdir bad");
    expect_verified(6, "no checkpoint", "bad");
}

static void an_export_goes_on_where_it_ended(void **state)
{
    (void)state;
    char options[500];
    snprintf(options, sizeof options, "-o %s", in_bed("half"));
    shell("rm -rf half && cp -a all half && rm half/checkpoint half/range half/tile/entries/000");
    expect_export(0, "some of them there already", options);
    expect_verified(0, "verdict: genuine", "half");
    turn_bit("half/tile/entries/001");
    expect_export(6, "is not the one that was co-signed", options);
    shell("mkdir -p mine && echo x >mine/letter");
    snprintf(options, sizeof options, "-o %s", in_bed("mine"));
    expect_export(1, "holds other files", options);
}

static unsigned lines_of(const char *t)
{
    unsigned lines = 0;
    for (; *t; t++)
        lines += *t == '\n';
    return lines;
}

static void rows_are_for_programs_and_spreadsheets(void **state)
{
    (void)state;
    char options[500], value[100];
    expect_export(0, "entries 250 to 259", "--format ndjson --from 250 --to 259");
    assert_int_equal(lines_of(text()), 10);
    *strchr((char *)out.data, '\n') = '\0';
    out.size = strlen(text());
    testbed_json(&out, "action", value, sizeof value);
    assert_string_equal(value, "event.add");
    testbed_json(&out, "patient", value, sizeof value);
    assert_string_equal(value, patient_id);
    testbed_json(&out, "object", value, sizeof value);
    assert_string_equal(value, "bill");
    snprintf(options, sizeof options, "--format csv --to 99 -o %s", in_bed("rows.csv"));
    expect_export(0, "entries 0 to 99", options);
    struct buffer csv = {0};
    assert_int_equal(file_read(&csv, in_bed("rows.csv"), MIB, NULL), OK);
    buffer_append(&csv, "", 1);
    assert_int_equal(lines_of((char *)csv.data), 101);
    assert_memory_equal(csv.data, "index,time,actor_kind,actor,patient,action,", 43);
    buffer_free(&csv);
    expect_export(1, "is not overwritten", options);
    shell("! ls rows.csv.tmp-* 2>ls.err");
}

static struct message_leaves_ok ask_leaves(struct client *c, struct said *answer, uint64_t from, uint32_t most)
{
    static struct bytes leaves[LIMIT_LEAVES];
    struct buffer plain = {.limit = LIMIT_ANSWER};
    struct message_leaves_ok m = {0};
    struct buffer body = {0};
    message_leaves_encode(&body, &(struct message_leaves){from, most});
    attacker_ask(&them, c, answer, MESSAGE_LEAVES, buffer_bytes(&body));
    if (answer->type == MESSAGE_LEAVES_OK) {
        assert_int_equal(message_leaves_ok_decode(&m, buffer_bytes(&answer->body)), OK);
        assert_int_equal(leaf_unpack(&plain, leaves, m.count, m.packed), OK);
    }
    buffer_free(&plain);
    buffer_free(&body);
    return m;
}

/* The entry that an export leaves says all that it opened. */
static void an_export_opens_the_entries_that_it_names(void **state)
{
    (void)state;
    struct signer auditor = attacker_signer(&them, "auditor");
    struct client *c = attacker_greet(&them, 2);
    struct said answer = {0};
    struct message_result result;
    struct arguments args = {.action = ACTION_LEDGER_EXPORT, .ledger_export = {256, 512}};
    ask_leaves(c, &answer, 256, 1);
    assert_int_equal(answer.code, ERR_UNAUTHORIZED);
    attacker_request(&request, &them, &auditor, &args, (struct bytes){0}, NULL);
    attacker_submit(&them, c, &answer, &result, buffer_bytes(&request));
    assert_int_equal(result.decision, DECISION_APPROVED);
    assert_int_equal(ask_leaves(c, &answer, 256, LIMIT_LEAVES).count, 256);
    assert_int_equal(ask_leaves(c, &answer, 511, 9).count, 1);
    static const uint64_t outside[] = {0, 255, 512, UINT64_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        ask_leaves(c, &answer, outside[i], 9);
        assert_int_equal(answer.code, ERR_UNAUTHORIZED);
    }
    said_free(&answer);
    signer_close(&auditor);
    client_close(c);
}

static void who_may_not_export_gets_nothing(void **state)
{
    (void)state;
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key export --format ndjson", bed.dir), 3);
    assert_string_equal(text(), "");
    expect_export(2, "not 'xml'", "--format xml");
    expect_export(2, "a bundle is a folder", "");
    expect_export(2, "later", "--from 5 --to 4 --format csv");
    expect_export(1, "co-signed, the last is", "--from 1000000 --format csv");
}

/* A node whose operator changed an entry: it is never written. The node is named, unless it has found and repaired
 * the damage itself meanwhile, or serves no more. */
static void an_entry_that_was_changed_is_not_written(void **state)
{
    (void)state;
    const char *build = getenv("BUILD");
    char tamper[500];
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --via node-1 export --format ndjson --from 300 --to 300", bed.dir);
    char *right = xstrdup(text());
    testbed_signal(&bed, 4, SIGTERM);
    snprintf(tamper, sizeof tamper, "'%s/tamper' --dir '%s' leaf 300 >/dev/null", build && *build ? build : "build",
             in_bed("node-4"));
    if (system(tamper) != 0) fail_msg("%s failed", tamper);
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 60);
    int code = testbed_cli(&bed, &out, &errors,
                           "-i %s/auditor.key --via node-4 export --format ndjson --from 300 --to 300", bed.dir);
    if (code == 6)
        assert_non_null(strstr(said(), "node-4 served an entry 300"));
    else if (code != 0 && code != 5)
        fail_msg("%d: %s", code, said());
    assert_string_equal(text(), code == 0 ? right : "");
    free(right);
}

static void health_says_why_not(void **state)
{
    (void)state;
    struct web w = {0};
    testbed_signal(&bed, 2, SIGKILL);
    testbed_signal(&bed, 3, SIGKILL);
    uint64_t end = clock_monotonic_ns() + 60000000000u;
    struct client *c = web_connect(1);
    while (web_get(c, &w, "/health") == 200 && clock_monotonic_ns() < end)
        usleep(50000);
    assert_int_equal(w.status, 503);
    assert_string_equal(field(&w, "Retry-After"), "1");
    assert_int_equal(web_get(c, &w, "/checkpoint"), 200); /* what is co-signed stays so */
    web_free(&w);
    client_close(c);
}

static enum err try_web(unsigned node)
{
    const struct descriptor *d = genesis_member(&them.cluster.genesis, node);
    struct address to;
    struct client *c = NULL;
    assert_int_equal(address_parse(&to, d->address, false, NULL), OK);
    struct client_options options = {.alpn = TLS_ALPN_HTTP, .timeout_ms = LONG_MS};
    size_t got = 0;
    uint8_t byte = 0;
    enum err e = client_connect(&c, them.cluster.tls, &to, &d->tls_pin, &options, NULL);
    if (e == OK) e = client_write(c, bytes_text("GET /health HTTP/1.0\r\n\r\n"), LONG_MS, NULL);
    if (e == OK) e = client_read(c, &byte, 1, &got, LONG_MS, NULL);
    client_close(c);
    return e == OK && got == 0 ? ERR_CLOSED : e;
}

static void an_operator_can_turn_it_off(void **state)
{
    (void)state;
    uint64_t end = clock_monotonic_ns() + 60000000000u;
    bed.extra = "--http no";
    testbed_start(&bed, 2); /* it was killed */
    enum err e;
    while ((e = try_web(2)) == ERR_UNREACHABLE && clock_monotonic_ns() < end) usleep(50000);
    if (e == OK || e == ERR_UNREACHABLE || e == ERR_TIMEOUT) fail_msg("%s", err_name(e));
    client_close(attacker_greet(&them, 2)); /* its own clients are served */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_root_follows_from_the_tiles_of_any_size),
        cmocka_unit_test(a_third_party_follows_the_tiles),
        cmocka_unit_test(the_checkpoint_is_asked_for_again_with_its_tag),
        cmocka_unit_test(nothing_of_a_person_is_public),
        cmocka_unit_test(a_clock_that_is_off_is_shown),
        cmocka_unit_test(each_wrong_request_has_its_status),
        cmocka_unit_test(many_requests_at_once_are_answered_in_order),
        cmocka_unit_test(slow_clients_do_not_hold_up_others),
        cmocka_unit_test(a_bundle_proves_itself),
        cmocka_unit_test(an_altered_bundle_is_refused),
        cmocka_unit_test(an_export_goes_on_where_it_ended),
        cmocka_unit_test(rows_are_for_programs_and_spreadsheets),
        cmocka_unit_test(an_export_opens_the_entries_that_it_names),
        cmocka_unit_test(who_may_not_export_gets_nothing),
        cmocka_unit_test(an_entry_that_was_changed_is_not_written),
        cmocka_unit_test(health_says_why_not),
        cmocka_unit_test(an_operator_can_turn_it_off),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
