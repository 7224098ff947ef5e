/* What a real cluster prints, verified by code that shares nothing with ours
 * (tests/go/thirdparty.go, on Go's sumdb/note), beside our own verification: both
 * accept the same notes and receipts, and refuse the same forgeries. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/files.h"
#include "ledger/checkpoint.h"
#include "tests/lib/testbed.h"
#include "tests/lib/thirdparty.h"
#include "tests/lib/unit.h"

static struct testbed bed;
static char doctor[ID_TEXT_SIZE], nurse[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];
static struct buffer out, errors, genesis_text;
static struct genesis genesis;
static bool have_go;

static const char *text(void) { return out.data ? (const char *)out.data : ""; }
static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

static const char *in_bed(const char *name)
{
    static char paths[4][400];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", bed.dir, name);
    return path;
}

static struct buffer read_file(const char *name)
{
    struct buffer b = {0};
    assert_int_equal(file_read(&b, in_bed(name), MIB, NULL), OK);
    return b;
}

static void write_file(const char *name, struct bytes content)
{
    assert_int_equal(file_write(in_bed(name), content, 0600, false, NULL), OK);
}

/* --- the third party --- */

static void need_go(void)
{
    if (have_go) return;
    print_message("skipped: Go and golang-golang-x-mod-dev are not installed\n");
    skip();
}

/* Its exit code; what it prints goes to `out`. */
static int thirdparty(const char *what, const char *origin, unsigned quorum, const char *file)
{
    return thirdparty_run(&bed, &out, "%s -origin '%s' -keys '%s' -quorum %u '%s'", what, origin, in_bed("keys"),
                          quorum,
                          in_bed(file));
}

/* --- the cluster --- */

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    have_go = thirdparty_build(&bed);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "nurse", "Hospital 1", "nurse", nurse);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key team add %s %s", bed.dir, patient, nurse);
    testbed_expect(&bed, 0, &out, "node keys");
    out.size = strlen(text());
    write_file("keys", buffer_bytes(&out));
    assert_int_equal(file_read(&genesis_text, bed.genesis, LIMIT_GENESIS, NULL), OK);
    assert_int_equal(genesis_parse(&genesis, buffer_bytes(&genesis_text), NULL), OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
    buffer_free(&genesis_text);
    return 0;
}

/* --- checkpoints --- */

/* A real note, in parts: its body with the empty line, and its signature lines. */
static struct buffer note;
static size_t body_size;
static unsigned line_count;
static struct bytes lines[LIMIT_NOTE_LINES];

static void take_checkpoint(void)
{
    testbed_expect(&bed, 0, &out, "checkpoint");
    buffer_clear(&note);
    buffer_append_text(&note, text());
    const char *body = (const char *)note.data, *end = body + note.size;
    const char *at = memmem(body, note.size, "\n\n", 2);
    assert_non_null(at);
    body_size = (size_t)(at + 2 - body);
    line_count = 0;
    for (at += 2; at < end;) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        assert_non_null(next);
        lines[line_count++] = bytes_of(at, (size_t)(next + 1 - at));
        at = next + 1;
    }
    assert_true(line_count >= genesis.quorum && line_count <= 4);
}

static struct buffer body_with(unsigned count)
{
    struct buffer b = {0};
    buffer_append(&b, note.data, body_size);
    for (unsigned i = 0; i < count; i++) buffer_append_bytes(&b, lines[i]);
    return b;
}

/* Both verifiers say the same. Frees the text. */
static void judged(bool good, const char *why, struct buffer changed)
{
    struct checkpoint checkpoint;
    write_file("note", buffer_bytes(&changed));
    bool ours = checkpoint_verify(&checkpoint, buffer_bytes(&changed), &genesis) == OK;
    int theirs = thirdparty("note", genesis.checkpoint_origin, genesis.quorum, "note");
    if (ours != good || theirs != !good)
        testbed_fail(&bed, "%s: ours %d, theirs %d\n%.*s", why, ours, theirs, (int)changed.size,
                     (const char *)changed.data);
    buffer_free(&changed);
}

static void a_third_party_accepts_our_checkpoints(void **state)
{
    (void)state;
    need_go();
    for (int i = 0; i < 3; i++) {
        struct checkpoint checkpoint;
        char hex[65], expected[120];
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print B-%d", bed.dir, patient, i);
        take_checkpoint();
        judged(true, "exactly k", body_with(genesis.quorum));
        judged(true, "as printed", body_with(line_count));
        assert_int_equal(checkpoint_verify(&checkpoint, buffer_bytes(&note), &genesis), OK);
        hex_format(hex, checkpoint.root.bytes, sizeof checkpoint.root.bytes);
        snprintf(expected, sizeof expected, "%llu %s\n", (unsigned long long)checkpoint.size, hex);
        assert_string_equal(text(), expected); /* the same was read */
    }
}

static void it_refuses_too_few_cosigners(void **state)
{
    (void)state;
    need_go();
    take_checkpoint();
    judged(false, "k - 1", body_with(genesis.quorum - 1));
    struct buffer twice = body_with(genesis.quorum - 1);
    buffer_append_bytes(&twice, lines[0]);
    judged(false, "one cosigner twice", twice);
    judged(false, "none", body_with(0));
}

static void it_refuses_an_unknown_cosigner(void **state)
{
    (void)state;
    need_go();
    struct sign_secret secret;
    struct cosigner stranger;
    struct sign_public key;
    struct cosignature cosignature;
    struct checkpoint checkpoint;
    struct buffer text_of = {0}, changed;
    take_checkpoint();
    assert_int_equal(checkpoint_verify(&checkpoint, buffer_bytes(&note), &genesis), OK);
    sign_keypair(&secret, &key, (const uint8_t[SIGN_SEED_SIZE]){7});
    /* Under a name of its own, and under a member's. */
    for (int own = 0; own < 2; own++) {
        char name[COSIGNER_NAME_SIZE];
        snprintf(name, sizeof name, "%s/%s", genesis.origin, own ? "stranger" : genesis.members[3].name);
        cosigner_set(&stranger, name, &key);
        checkpoint_cosign(&cosignature, &checkpoint, 1790000000, &secret);
        buffer_clear(&text_of);
        checkpoint_format(&text_of, &checkpoint, &stranger, &cosignature, 1);
        changed = body_with(genesis.quorum - 1);
        buffer_append(&changed, text_of.data + body_size, text_of.size - body_size);
        judged(false, "an unknown cosigner", changed);
        changed = body_with(genesis.quorum); /* beside enough known ones it does no harm */
        buffer_append(&changed, text_of.data + body_size, text_of.size - body_size);
        judged(true, "one more cosigner than known", changed);
    }
    buffer_free(&text_of);
}

static void it_refuses_an_altered_text(void **state)
{
    (void)state;
    need_go();
    take_checkpoint();
    size_t origin = 0, size = strlen(genesis.checkpoint_origin) + 1;
    size_t root = (size_t)((uint8_t *)memchr(note.data + size, '\n', note.size - size) - note.data) + 1;
    const struct { const char *what; size_t at; } places[] = {{"origin", origin}, {"size", size}, {"root", root}};
    for (size_t i = 0; i < 3; i++) {
        struct buffer changed = body_with(line_count);
        uint8_t *c = &changed.data[places[i].at];
        *c = *c == '9' ? '8' : *c == 'z' || *c == 'Z' ? 'a' : (uint8_t)(*c + 1);
        judged(false, places[i].what, changed);
    }
    /* A good note, of another log than the one that is asked about. */
    write_file("note", buffer_bytes(&note));
    assert_int_equal(thirdparty("note", "consilium/other/0123456789abcdef", genesis.quorum, "note"), 1);
    assert_int_equal(thirdparty("note", genesis.checkpoint_origin, genesis.quorum, "note"), 0);
}

/* --- receipts --- */

static int receipt_verify(const char *file)
{
    return testbed_cli(&bed, &out, &errors, "receipt verify %s", in_bed(file));
}

/* A command with --receipt, then both verifiers on it. */
static void expect_receipt(int code, const char *action, const char *decision, const char *command)
{
    char value[100], entry[30];
    unlink(in_bed("receipt"));
    if (testbed_cli(&bed, &out, &errors, "%s --receipt %s", command, in_bed("receipt")) != code)
        testbed_fail(&bed, "%s\n%s%s", command, text(), said());
    testbed_expect(&bed, 0, &out, "--json receipt verify %s", in_bed("receipt"));
    testbed_json(&out, "action", value, sizeof value);
    assert_string_equal(value, action);
    testbed_json(&out, "decision", value, sizeof value);
    assert_string_equal(value, decision);
    testbed_json(&out, "entry", entry, sizeof entry);
    testbed_expect(&bed, 0, &out, "receipt verify %s", in_bed("receipt"));
    assert_non_null(strstr(text(), "verdict: genuine. User "));
    if (!have_go) return;
    if (thirdparty("receipt", genesis.checkpoint_origin, genesis.quorum, "receipt") != 0)
        testbed_fail(&bed, "the receipt of '%s' is refused by the third party", command);
    assert_memory_equal(text(), entry, strlen(entry));
}

static void each_write_and_read_has_its_receipt(void **state)
{
    (void)state;
    char record[ID_TEXT_SIZE], command[900];
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json record create --patient %s -c R --set temperature=38",
                   bed.dir, patient);
    testbed_json(&out, "record", record, sizeof record);
    const struct { int code; const char *action, *decision, *who, *words; } rows[] = {
        {0, "record.read", "approved", "doctor", "record show RECORD"},
        {3, "record.read", "denied", "nurse", "record show RECORD"},
        {0, "record.history", "approved", "doctor", "record history RECORD"},
        {0, "record.list", "approved", "doctor", "record list PATIENT"},
        {0, "record.create", "approved", "doctor", "record create --patient PATIENT --set temperature=38.5"},
        {0, "record.update", "approved", "doctor", "--yes record update RECORD --set temperature=39"},
        {7, "record.update", "denied", "doctor",
         "record update RECORD --base 1 --patient PATIENT -c R --set temperature=40"},
        {0, "record.copy", "approved", "doctor", "record copy RECORD --patient PATIENT"},
        {0, "record.delete", "approved", "doctor", "--yes record delete RECORD"},
        {0, "event.add", "approved", "doctor", "event add PATIENT bill.print"},
        {0, "record.list", "approved", "doctor", "record list patient"}, /* a search for the login name comes first */
        {0, "team.list", "approved", "doctor", "team list PATIENT"},
        {0, "team.assign", "approved", "registrar", "team remove PATIENT NURSE"},
        {0, "log.query", "approved", "patient", "log"},
        {0, "user.search", "approved", "doctor", "whoami"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(command, sizeof command, "-i %s/%s.key ", bed.dir, rows[i].who);
        for (const char *at = rows[i].words; *at;) {
            size_t n = strcspn(at, " ");
            struct bytes word_of = bytes_of(at, n);
            const char *word = bytes_equal(word_of, bytes_text("RECORD"))    ? record
                               : bytes_equal(word_of, bytes_text("PATIENT")) ? patient
                               : bytes_equal(word_of, bytes_text("NURSE"))   ? nurse
                                                                             : NULL;
            size_t used = strlen(command);
            if (word)
                snprintf(command + used, sizeof command - used, "%s ", word);
            else
                snprintf(command + used, sizeof command - used, "%.*s ", (int)n, at);
            at += n + (at[n] == ' ');
        }
        expect_receipt(rows[i].code, rows[i].action, rows[i].decision, command);
    }
}

static void make_receipt(void)
{
    unlink(in_bed("receipt"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print B-99 --receipt %s", bed.dir, patient,
                   in_bed("receipt"));
}

static void an_altered_receipt_is_refused_by_both(void **state)
{
    (void)state;
    make_receipt();
    struct buffer good = read_file("receipt");
    const uint8_t *end = memmem(good.data, good.size, "\n\n", 2);
    assert_non_null(end);
    for (size_t at = 0; at < (size_t)(end - good.data); at += 37) { /* header, entry, index and proof */
        good.data[at] ^= 1;
        write_file("altered", buffer_bytes(&good));
        good.data[at] ^= 1;
        if (receipt_verify("altered") != 6)
            testbed_fail(&bed, "altered at %zu, and accepted\n%s%s", at, text(), said());
        if (have_go) assert_int_equal(thirdparty("receipt", genesis.checkpoint_origin, genesis.quorum, "altered"), 1);
    }
    write_file("altered", bytes_of(good.data, good.size - 200)); /* two cosignatures are gone, or cut through */
    assert_int_equal(receipt_verify("altered"), 6);
    write_file("altered", bytes_text(""));
    assert_int_equal(receipt_verify("altered"), 6);
    buffer_free(&good);
}

static void a_receipt_is_of_one_cluster_and_one_key(void **state)
{
    (void)state;
    char command[1200];
    make_receipt();
    snprintf(command, sizeof command, "sed 's/^origin .*/origin consilium\\/elsewhere/' '%s' >'%s'", bed.genesis,
             in_bed("other"));
    assert_int_equal(system(command), 0);
    struct testbed elsewhere = bed;
    snprintf(elsewhere.genesis, sizeof elsewhere.genesis, "%s", in_bed("other"));
    assert_int_equal(testbed_cli(&elsewhere, &out, &errors, "receipt verify %s", in_bed("receipt")), 6);
    assert_non_null(strstr(said(), "not of 'consilium/elsewhere/"));
    testbed_expect(&bed, 0, &out, "receipt verify %s", in_bed("receipt"));
    assert_non_null(strstr(text(), "bill.print B-99"));
    testbed_expect(&bed, 0, &out, "receipt verify %s --key %s/doctor.key", in_bed("receipt"), bed.dir);
    testbed_expect(&bed, 6, &out, "receipt verify %s --key %s/nurse.key", in_bed("receipt"), bed.dir);
}

static void a_receipt_is_never_written_over(void **state)
{
    (void)state;
    make_receipt();
    struct buffer before = read_file("receipt");
    testbed_expect(&bed, 1, &out, "-i %s/doctor.key event add %s bill.print --receipt %s", bed.dir, patient,
                   in_bed("receipt"));
    struct buffer after = read_file("receipt");
    assert_true(bytes_equal(buffer_bytes(&before), buffer_bytes(&after)));
    buffer_free(&before);
    buffer_free(&after);
    /* Where there is nothing to prove, there is no file, and no success. */
    testbed_expect(&bed, 2, &out, "checkpoint --receipt %s", in_bed("none"));
    assert_int_not_equal(access(in_bed("none"), F_OK), 0);
    testbed_expect(&bed, 1, &out, "-i %s/doctor.key event add %s bill.print --receipt %s/no/such/folder", bed.dir,
                   patient, bed.dir);
}

/* --- verify --since --- */

static void expect_since(int code, const char *options, const char *words)
{
    if (testbed_cli(&bed, &out, &errors, "verify --since %s %s", in_bed("old"), options) != code ||
        !strstr(text(), words))
        testbed_fail(&bed, "expected %d with \"%s\"\n%s%s", code, words, text(), said());
}

static void add_events(int count)
{
    for (int i = 0; i < count; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print", bed.dir, patient);
}

static void todays_ledger_extends_an_older_one(void **state)
{
    (void)state;
    char verdict[30];
    take_checkpoint();
    write_file("old", buffer_bytes(&note));
    expect_since(0, "", "verdict: extends"); /* itself */
    add_events(5);
    expect_since(0, "", "verdict: extends");
    expect_since(0, "--all", "node-4: ");
    expect_since(0, "--via node-3", "node-3: ");
    testbed_expect(&bed, 0, &out, "--json verify --since %s", in_bed("old"));
    testbed_json(&out, "verdict", verdict, sizeof verdict);
    assert_string_equal(verdict, "extends");
    make_receipt(); /* has a checkpoint in it */
    struct buffer receipt = read_file("receipt");
    write_file("old", buffer_bytes(&receipt));
    buffer_free(&receipt);
    add_events(1);
    expect_since(0, "--all", "verdict: extends");
}

static void since_as(const char *who, char *entry, size_t size)
{
    char verdict[30];
    testbed_expect(&bed, 0, &out, "-i %s/%s.key --json verify --since %s", bed.dir, who, in_bed("old"));
    testbed_json(&out, "verdict", verdict, sizeof verdict);
    assert_string_equal(verdict, "extends");
    testbed_json(&out, "entry", entry, size);
}

/* Auditors are audited; who needs no right to ask for a proof gets it. */
static void who_may_audit_leaves_an_entry(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE], entry[30], logged[30];
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", id);
    take_checkpoint();
    write_file("old", buffer_bytes(&note));
    since_as("auditor", entry, sizeof entry);
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action ledger.export --limit 1", bed.dir);
    testbed_json(&out, "0.index", logged, sizeof logged);
    assert_string_equal(entry, logged);
    since_as("nurse", entry, sizeof entry);
    assert_string_equal(entry, "null");
    expect_since(0, "", "verdict: extends");
    assert_non_null(strstr(said(), "no identity is given, so this leaves no entry"));
    assert_non_null(strstr(text(), "one node's proof is enough"));
    expect_since(0, "--all", "verdict: extends");
    assert_null(strstr(text(), "one node's proof is enough"));
}

static void an_older_checkpoint_must_be_good_itself(void **state)
{
    (void)state;
    take_checkpoint();
    struct buffer bad = body_with(genesis.quorum - 1);
    write_file("old", buffer_bytes(&bad));
    buffer_free(&bad);
    expect_since(6, "", "");
    assert_non_null(strstr(said(), "fewer than 3 valid cosignatures"));
    bad = body_with(line_count);
    bad.data[strlen(genesis.checkpoint_origin) + 1] ^= 1;
    write_file("old", buffer_bytes(&bad));
    buffer_free(&bad);
    expect_since(6, "", "");
    write_file("old", bytes_text("nonsense\n"));
    expect_since(6, "", "");
    unlink(in_bed("old"));
    expect_since(1, "", "");
}

static void all_folders(const char *command)
{
    char line[700];
    for (unsigned i = 1; i <= 4; i++) {
        snprintf(line, sizeof line, "cd '%s' && %s %u", bed.dir, command, i);
        if (system(line) != 0) testbed_fail(&bed, "%s failed", line);
    }
}

static void end_all(void)
{
    for (unsigned i = 1; i <= 4; i++) testbed_signal(&bed, i, SIGTERM);
}

static void begin_all(void)
{
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
}

/* All operators together put back old disks and go on differently: no node can tell,
 * but who has kept a checkpoint can. */
static void a_history_that_all_rewrote_is_noticed(void **state)
{
    (void)state;
    end_all();
    all_folders("keep() { cp -a node-$1 kept-$1; } && keep");
    begin_all();
    add_events(3);
    take_checkpoint();
    write_file("old", buffer_bytes(&note));
    expect_since(0, "--all", "verdict: extends");
    end_all();
    all_folders("back() { rm -rf node-$1 && mv kept-$1 node-$1; } && back");
    begin_all();
    expect_since(6, "--timeout 2 --via node-1", "too short");
    add_events(9);
    expect_since(6, "--all", "verdict: FAILED. No node proves that today's ledger extends");
    assert_non_null(strstr(text(), "node-2: not co-signed"));
}

static void a_receipt_needs_no_node(void **state)
{
    (void)state;
    make_receipt();
    for (unsigned i = 1; i <= 4; i++) testbed_signal(&bed, i, SIGKILL);
    assert_int_equal(receipt_verify("receipt"), 0);
    if (have_go) assert_int_equal(thirdparty("receipt", genesis.checkpoint_origin, genesis.quorum, "receipt"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_third_party_accepts_our_checkpoints),
        cmocka_unit_test(it_refuses_too_few_cosigners),
        cmocka_unit_test(it_refuses_an_unknown_cosigner),
        cmocka_unit_test(it_refuses_an_altered_text),
        cmocka_unit_test(each_write_and_read_has_its_receipt),
        cmocka_unit_test(an_altered_receipt_is_refused_by_both),
        cmocka_unit_test(a_receipt_is_of_one_cluster_and_one_key),
        cmocka_unit_test(a_receipt_is_never_written_over),
        cmocka_unit_test(todays_ledger_extends_an_older_one),
        cmocka_unit_test(who_may_audit_leaves_an_entry),
        cmocka_unit_test(an_older_checkpoint_must_be_good_itself),
        cmocka_unit_test(a_history_that_all_rewrote_is_noticed),
        cmocka_unit_test(a_receipt_needs_no_node),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
