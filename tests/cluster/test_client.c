/* What programs and people get from the client: pages with their ends, files that are not written over, hints that
 * fit, a receipt of each command that makes an entry, a bar on a terminal, a report that programs can rely on. */
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <jansson.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

#define EVENTS 7

static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], record[ID_TEXT_SIZE];
static char auditor[ID_TEXT_SIZE], chief[ID_TEXT_SIZE];

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", auditor);
    testbed_user(&bed, "admin", "Hospital 1", "chief", chief);
    testbed_record(&bed, record, patient, "the first words");
    for (int i = 0; i < EVENTS; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print B-%d", bed.dir, patient, i);
    return 0;
}

/* --- pages --- */

/* The rows of the answer, NULL when it is no array. */
static json_t *answer_rows(void)
{
    json_t *rows = json_loadb((const char *)out.data, out.size, 0, NULL);
    if (!json_is_array(rows)) testbed_fail(&bed, "no array of rows:\n%s%s", text(), said());
    return rows;
}

/* Takes the mark off the rows: how to go on, or "". */
static void take_next(char next[static 300], json_t *rows)
{
    size_t count = json_array_size(rows);
    const json_t *last = count ? json_array_get(rows, count - 1) : NULL;
    const char *hex = json_string_value(json_object_get(last, "next"));
    snprintf(next, 300, "%s", hex ? hex : "");
    if (hex) json_array_remove(rows, count - 1);
}

/* Page by page it is what it is at once, by what is on standard output alone. */
static void pages_are_the_whole(const char *key, const char *words, size_t least)
{
    char next[300] = "", from[320] = "";
    testbed_expect(&bed, 0, &out, "%s", words);
    json_t *whole = answer_rows();
    take_next(next, whole);
    assert_string_equal(next, "");
    size_t count = json_array_size(whole), at = 0;
    assert_true(count >= least);
    do {
        if (testbed_cli(&bed, &out, &errors, "%s --limit 2%s", words, from) != 0)
            testbed_fail(&bed, "%s: %s", words, said());
        assert_null(strstr(said(), "--cursor")); /* programs are told once */
        json_t *page = answer_rows(), *row;
        size_t i;
        take_next(next, page);
        json_array_foreach(page, i, row) {
            if (at == count) testbed_fail(&bed, "%s: more rows than there are", words);
            json_t *expected = json_array_get(whole, at++);
            assert_true(json_equal(json_object_get(row, key), json_object_get(expected, key)));
        }
        json_decref(page);
        snprintf(from, sizeof from, " --cursor %s", next);
    } while (*next);
    assert_int_equal(at, count);
    json_decref(whole);
}

static void pages_say_how_to_go_on(void **state)
{
    (void)state;
    char words[600];
    snprintf(words, sizeof words, "-i %s/auditor.key --json log --all --action event.add", bed.dir);
    pages_are_the_whole("index", words, EVENTS);
    for (int i = 0; i < 3; i++) testbed_record(&bed, record, patient, "more words");
    snprintf(words, sizeof words, "-i %s/doctor.key --json record list %s", bed.dir, patient);
    pages_are_the_whole("record", words, 4);
    snprintf(words, sizeof words, "-i %s/doctor.key --json record show --patient %s", bed.dir, patient);
    pages_are_the_whole("record", words, 4);
    snprintf(words, sizeof words, "-i %s --json user search", bed.admin);
    pages_are_the_whole("id", words, 3);
    /* For people it stands on standard error, as before. */
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/auditor.key log --all --limit 1", bed.dir), 0);
    assert_non_null(strstr(said(), "there is more: add --cursor "));
    assert_null(strstr(text(), "next"));
}

/* --- files --- */

static void content_is(const char *name, const char *expected)
{
    char path[400], content[200] = "";
    snprintf(path, sizeof path, "%s/%s", bed.dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t size = fread(content, 1, sizeof content - 1, f);
    content[size] = '\0';
    fclose(f);
    assert_string_equal(content, expected);
}

static unsigned reads(void)
{
    unsigned count = 0;
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action record.read", bed.dir);
    for (const char *at = text(); (at = strstr(at, "\"index\"")); at++) count++;
    return count;
}

static void a_file_is_not_written_over(void **state)
{
    (void)state;
    testbed_record(&bed, record, patient, "words to keep");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s -o %s/shown", bed.dir, record, bed.dir);
    content_is("shown", "words to keep");
    char path[400];
    snprintf(path, sizeof path, "%s/mine", bed.dir);
    FILE *f = fopen(path, "w");
    assert_true(f && fputs("something else", f) >= 0 && fclose(f) == 0);
    unsigned before = reads();
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key record show %s -o %s/mine", bed.dir, record,
                                 bed.dir), 1);
    assert_non_null(strstr(said(), "exists already"));
    assert_non_null(strstr(said(), "--force"));
    content_is("mine", "something else");
    testbed_expect(&bed, 1, &out, "-i %s/doctor.key record show %s -o %s/nowhere/mine", bed.dir, record, bed.dir);
    assert_int_equal(reads(), before); /* no access was made for nothing */
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s -o %s/mine --force", bed.dir, record, bed.dir);
    content_is("mine", "words to keep");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show --patient %s -o %s/chart", bed.dir, patient, bed.dir);
    testbed_expect(&bed, 1, &out, "-i %s/doctor.key record show --patient %s -o %s/chart", bed.dir, patient, bed.dir);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show --patient %s -o %s/chart --force", bed.dir, patient,
                   bed.dir);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s -o /dev/null", bed.dir, record);
}

static void hint_is(int code, const char *hint, const char *words)
{
    int got = testbed_cli(&bed, &out, &errors, "%s", words);
    if (got != code || !strstr(said(), hint))
        testbed_fail(&bed, "%s: exit %d, expected %d with '%s':\n%s", words, got, code, hint, said());
}

static void hints_fit(void **state)
{
    (void)state;
    char words[600];
    hint_is(1, "What to do: check the path.", "receipt verify /no/such/file");
    hint_is(1, "What to do: check the path.", "evidence verify /no/such/file");
    hint_is(1, "What to do: check the path.", "export verify /no/such/folder");
    hint_is(1, "What to do: check the path.", "genesis show /no/such/file");
    snprintf(words, sizeof words, "-i %s/doctor.key record create --patient %s -k note /no/such/file", bed.dir,
             patient);
    hint_is(1, "What to do: check the path.", words);
    snprintf(words, sizeof words, "-i %s/doctor.key record show %s -o /no/such/folder/file", bed.dir, record);
    hint_is(1, "What to do: check the path.", words);
    /* Of a record of its own, which is deleted. */
    char deleted[ID_TEXT_SIZE];
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json record create --patient %s -k note %s/mine", bed.dir,
                   patient, bed.dir);
    testbed_json(&out, "record", deleted, sizeof deleted);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --yes record delete %s", bed.dir, deleted);
    snprintf(words, sizeof words, "-i %s/doctor.key record show %s", bed.dir, deleted);
    hint_is(7, "its versions stay: 'consilium record history' lists them", words);
    /* Made just now, and nobody knows of it: when that is sure is said. */
    snprintf(words, sizeof words, "-i %s/doctor.key lookup %" PRIu64 "-%s", bed.dir, clock_wall_ms(), record);
    hint_is(5, "five minutes after it was made", words);
    /* What a denied export would have filled is not there. */
    snprintf(words, sizeof words, "-i %s/doctor.key export -o %s/denied", bed.dir, bed.dir);
    hint_is(3, "ledger.export was denied", words);
    snprintf(words, sizeof words, "%s/denied", bed.dir);
    assert_int_not_equal(access(words, F_OK), 0);
    snprintf(words, sizeof words, "-i %s/doctor.key user show nobody", bed.dir);
    hint_is(7, "What to do: check the name or id.", words);
    hint_is(4, "make one with", "-i /no/such/key whoami");
    snprintf(words, sizeof words, "-i %s/chief.key alarm clear 999999", bed.dir);
    hint_is(7, "'consilium alarm list --all' shows them", words);
    snprintf(words, sizeof words, "-i %s/chief.key user add --role nurse --hospital 'Hospital 1' --login doctor",
             bed.dir);
    hint_is(7, "What to do: choose another, or look at who has it.", words);
}

/* --- receipts --- */

static void receipt_is_good(const char *words, const char *action, const char *decision)
{
    char value[60];
    testbed_expect(&bed, 0, &out, "--json receipt verify %s/receipt", bed.dir);
    testbed_json(&out, "action", value, sizeof value);
    if (strcmp(value, action) != 0) testbed_fail(&bed, "%s: the receipt is of %s, not %s", words, value, action);
    testbed_json(&out, "decision", value, sizeof value);
    if (strcmp(value, decision) != 0) testbed_fail(&bed, "%s: the receipt says %s", words, value);
}

static void has_receipt(int code, const char *action, const char *decision, const char *words)
{
    char path[400];
    snprintf(path, sizeof path, "%s/receipt", bed.dir);
    unlink(path);
    int got = testbed_cli(&bed, &out, &errors, "%s --receipt %s", words, path);
    if (got != code) testbed_fail(&bed, "%s: exit %d, expected %d\n%s%s", words, got, code, text(), said());
    if (access(path, F_OK) != 0) testbed_fail(&bed, "%s: no receipt\n%s", words, said());
    receipt_is_good(words, action, decision);
}

/* Those that tests/cluster/test_thirdparty.c doesn't have verified by other code as well. */
static void each_command_has_its_receipt(void **state)
{
    (void)state;
    static const struct { int code; const char *action, *decision, *who, *words; } rows[] = {
        {0, "user.create", "approved", "chief",
         "user add --role nurse --hospital 'Hospital 1' --login nora --name Nora"},
        {7, "user.create", "denied", "chief", "user add --role nurse --hospital 'Hospital 1' --login nora --name Nora"},
        {0, "user.search", "approved", "chief", "user show nora"},
        {0, "user.search", "approved", "chief", "user search Nora"},
        {0, "user.update", "approved", "chief", "user update nora --designation Ward-2"},
        {0, "user.key", "approved", "chief", "user key nora %s/extra.pub"},
        {0, "user.disable", "approved", "chief", "user disable nora"},
        {0, "team.assign", "approved", "registrar", "team add patient doctor2"},
        {0, "policy.show", "approved", "chief", "policy show"},
        {0, "policy.set", "approved", "root", "policy set %s/policy.conf"},
        {3, "policy.set", "denied", "doctor", "policy set configs/policy.conf"},
        {0, "ledger.export", "approved", "auditor", "verify"},
        {3, "ledger.export", "denied", "doctor", "verify"},
        {0, "ledger.export", "approved", "auditor", "export -o %s/exported"},
        {0, "ledger.export", "approved", "auditor", "evidence list"},
        {3, "ledger.export", "denied", "doctor", "evidence list"},
        {0, "state.digest", "approved", "auditor", "status --state-digest"},
        {7, "alarm.clear", "denied", "chief", "alarm clear 999999"},
        {0, "log.query", "approved", "auditor", "log --all --limit 3"},
        {0, "record.read", "approved", "doctor", "record show --patient patient -o %s/chart2"},
    };
    char command[1500], words[600], id[ID_TEXT_SIZE];
    testbed_user(&bed, "doctor", "Hospital 1", "doctor2", id);
    snprintf(command, sizeof command, "(cat configs/policy.conf; echo '# amended') >'%s/policy.conf'", bed.dir);
    assert_int_equal(system(command), 0);
    testbed_expect(&bed, 0, NULL, "key new --no-passphrase -o %s/extra.key", bed.dir);
    testbed_expect(&bed, 0, &out, "key public %s/extra.key", bed.dir);
    snprintf(command, sizeof command, "%s/extra.pub", bed.dir);
    FILE *f = fopen(command, "w");
    assert_true(f && fputs(text(), f) >= 0 && fclose(f) == 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *at = strstr(rows[i].words, "%s");
        int head = at ? (int)(at - rows[i].words) : (int)strlen(rows[i].words);
        snprintf(words, sizeof words, "%.*s%s%s", head, rows[i].words, at ? bed.dir : "", at ? at + 2 : "");
        if (strcmp(rows[i].who, "root") == 0)
            snprintf(command, sizeof command, "-i %s --yes %s", bed.admin, words);
        else
            snprintf(command, sizeof command, "-i %s/%s.key --yes %s", bed.dir, rows[i].who, words);
        has_receipt(rows[i].code, rows[i].action, rows[i].decision, command);
    }
}

/* How many lines of the answer say that a receipt is genuine, and, with `action`, of what. */
static int genuine_lines(const char *action)
{
    int count = 0;
    for (const char *at = text(), *end; *at; at = *end ? end + 1 : end) {
        end = at + strcspn(at, "\n");
        json_t *row = json_loadb(at, (size_t)(end - at), 0, NULL);
        const char *verdict = json_string_value(json_object_get(row, "verdict"));
        const char *what = json_string_value(json_object_get(row, "action"));
        count += verdict && strcmp(verdict, "genuine") == 0 && (!action || (what && strcmp(what, action) == 0));
        json_decref(row);
    }
    return count;
}

/* A lookup and what it was for: FILE is of the latter. */
static void a_lookup_has_its_receipt_too(void **state)
{
    (void)state;
    char pattern[400], command[1000];
    glob_t found;
    snprintf(command, sizeof command, "rm -f '%s'/receipt*", bed.dir);
    assert_int_equal(system(command), 0);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record list patient --receipt %s/receipt", bed.dir, bed.dir);
    receipt_is_good("record list", "record.list", "approved");
    snprintf(pattern, sizeof pattern, "%s/receipt.*", bed.dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    testbed_expect(&bed, 0, &out, "--json receipt verify %s %s/receipt", found.gl_pathv[0], bed.dir);
    globfree(&found);
    assert_int_equal(genuine_lines(NULL), 2);
    assert_int_equal(genuine_lines("user.search"), 1);
    /* The place is refused before anything is recorded, as the next entry's number says. */
    testbed_expect(&bed, 1, &out, "-i %s/doctor.key record list patient --receipt %s/no/such/place", bed.dir, bed.dir);
    testbed_expect(&bed, 1, &out, "-i %s/doctor.key record list patient --receipt %s/receipt", bed.dir, bed.dir);
}

/* --- receipts of what is asked for later, goes on, or needs no entry --- */

/* Of the receipt in that file: the verifier's word for it. */
static void receipt_field(const char *file, const char *key, char *value, size_t size)
{
    testbed_expect(&bed, 0, &out, "--json receipt verify %s/%s", bed.dir, file);
    testbed_json(&out, key, value, size);
}

static void expect_field(const char *file, const char *key, const char *expected)
{
    char value[200];
    receipt_field(file, key, value, sizeof value);
    if (strcmp(value, expected) != 0) testbed_fail(&bed, "%s of %s is %s, not %s", key, file, value, expected);
}

static uint64_t moment_ms(const char *text)
{
    struct tm tm = {0};
    int ms = 0;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest || sscanf(rest, ".%3dZ", &ms) != 1) testbed_fail(&bed, "'%s' is no time", text);
    return (uint64_t)timegm(&tm) * 1000 + (uint64_t)ms;
}

/* The proof of an entry comes anew by its request's token: the same as at first, and beside it that of the asking. */
static void a_token_has_its_receipt(void **state)
{
    (void)state;
    char request[60], issued[40], entry[20], again[20];
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print T-1 --receipt %s/first", bed.dir, patient,
                   bed.dir);
    receipt_field("first", "request", request, sizeof request);
    receipt_field("first", "issued", issued, sizeof issued);
    receipt_field("first", "entry", entry, sizeof entry);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key lookup %" PRIu64 "-%s --receipt %s/second", bed.dir,
                   moment_ms(issued), request, bed.dir);
    receipt_field("second", "entry", again, sizeof again);
    assert_string_equal(again, entry);
    expect_field("second", "action", "event.add");
    expect_field("second", "request", request);
}

/* Auditors leave an entry also where none is needed, and that has its receipt. */
static void a_proof_of_extension_has_its_receipt(void **state)
{
    (void)state;
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key verify --since %s/first --receipt %s/since", bed.dir, bed.dir,
                   bed.dir);
    expect_field("since", "action", "ledger.export");
    expect_field("since", "decision", "approved");
}

/* While it goes on, not at an end that never comes. */
static void a_log_that_goes_on_has_its_receipt(void **state)
{
    (void)state;
    char command[1500], path[400];
    snprintf(path, sizeof path, "%s/followed", bed.dir);
    snprintf(command, sizeof command, "exec %s/consilium --cluster %s -i %s/auditor.key log --all --follow "
             "--receipt %s >/dev/null 2>&1", build(), bed.genesis, bed.dir, path);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    for (int i = 0; i < 600 && access(path, F_OK) != 0; i++) usleep(100000);
    expect_field("followed", "action", "log.query");
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    expect_field("followed", "decision", "approved");
}

#define OBSERVATIONS 300 /* more than one request holds */

static void write_bundle(const char *file)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs("{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{\"resource\":{\"resourceType\":\"Patient\","
          "\"id\":\"p1\",\"name\":[{\"family\":\"Many\"}]}}", f);
    for (int i = 0; i < OBSERVATIONS; i++)
        fprintf(f, ",{\"resource\":{\"resourceType\":\"Observation\",\"id\":\"o%d\",\"status\":\"final\"}}", i);
    fputs("]}", f);
    assert_int_equal(fclose(f), 0);
}

/* Each operation of an import has its own, and a second one goes on in the same folder. */
static void an_import_has_all_its_receipts(void **state)
{
    (void)state;
    char file[400], command[1000];
    snprintf(file, sizeof file, "%s/many.json", bed.dir);
    write_bundle(file);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key import %s --receipt %s/receipts/", bed.dir, file, bed.dir);
    testbed_expect(&bed, 0, &out, "--json receipt verify %s/receipts --key %s/registrar.key", bed.dir, bed.dir);
    assert_int_equal(genuine_lines("record.create"), OBSERVATIONS + 1);
    assert_int_equal(genuine_lines("user.create"), 1);
    int first = genuine_lines(NULL);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key import %s --receipt %s/receipts", bed.dir, file, bed.dir);
    testbed_expect(&bed, 0, &out, "--json receipt verify %s/receipts/", bed.dir);
    assert_int_equal(genuine_lines("record.create"), OBSERVATIONS + 1);
    assert_true(genuine_lines(NULL) > first);
    testbed_expect(&bed, 0, &out, "receipt verify %s/receipts/", bed.dir);
    assert_non_null(strstr(text(), "\nverdict: genuine, all "));
    /* One that is damaged, and one that is named for another entry: each is named, and the others are checked. */
    snprintf(command, sizeof command, "cd '%s/receipts' && set -- *.tlog-proof && echo >>\"$1\" && mv \"$2\" "
             "999999.tlog-proof", bed.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "receipt verify %s/receipts/", bed.dir), 6);
    assert_non_null(strstr(said(), "proves nothing"));
    assert_non_null(strstr(said(), "999999.tlog-proof is named for entry 999999, but proves entry"));
    assert_non_null(strstr(said(), "2 of "));
    assert_non_null(strstr(text(), ": genuine. User "));
}

/* --- a terminal --- */

/* What a person sees of the command: both outputs, at a terminal. Its exit code. */
static int at_a_terminal(const char *words)
{
    char command[1200], part[4096];
    int terminal, status;
    ssize_t n;
    snprintf(command, sizeof command, "exec %s/consilium --cluster %s %s", build(),
             bed.genesis, words);
    pid_t pid = forkpty(&terminal, NULL, NULL, &(struct winsize){.ws_row = 40, .ws_col = 120});
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    buffer_clear(&out);
    while ((n = read(terminal, part, sizeof part)) > 0) buffer_append(&out, part, (size_t)n); /* EIO at its end */
    buffer_append(&out, "", 1);
    close(terminal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void long_work_shows_how_far_it_is(void **state)
{
    (void)state;
    char words[600];
    snprintf(words, sizeof words, "-i %s/auditor.key verify --all", bed.dir);
    assert_int_equal(at_a_terminal(words), 0);
    for (int node = 1; node <= 4; node++) {
        char bar[60];
        snprintf(bar, sizeof bar, "\rnode-%d: [########################] checked ", node);
        if (!strstr(text(), bar)) testbed_fail(&bed, "no bar of node %d:\n%s", node, text());
    }
    assert_non_null(strstr(text(), "\r\x1b[K")); /* and nothing is left of it */
    assert_non_null(strstr(text(), "verdict: fine"));
    snprintf(words, sizeof words, "-i %s/auditor.key export -o %s/shown-export", bed.dir, bed.dir);
    assert_int_equal(at_a_terminal(words), 0);
    if (!strstr(text(), "]   0%  0 of ")) testbed_fail(&bed, "no progress of an export:\n%s", text());
    /* Not where it is no terminal. */
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/auditor.key verify --all", bed.dir), 0);
    assert_null(strstr(said(), "[#"));
    assert_null(strchr(text(), '\r'));
}

/* --- a report for programs --- */

static void has_keys(const json_t *o, const char *where, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!json_object_get(o, keys[i])) testbed_fail(&bed, "%s has no \"%s\":\n%s", where, keys[i], text());
    if (json_object_size(o) != count) testbed_fail(&bed, "%s has other keys, too:\n%s", where, text());
}

/* Names that others' programs rely on: who changes this test changes their input. */
static void the_report_keeps_its_names(void **state)
{
    (void)state;
    static const char *const report[] = {"verdict", "entry", "verified_before", "contents", "nodes", "states"};
    static const char *const node[] = {"name", "verdict", "size", "root", "checked", "first_wrong", "expected",
                                       "found", "text", "unproved"};
    size_t at;
    json_t *row;
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json verify --all", bed.dir);
    json_t *o = json_loadb((const char *)out.data, out.size, 0, NULL);
    has_keys(o, "the report", report, sizeof report / sizeof *report);
    assert_string_equal(json_string_value(json_object_get(o, "verdict")), "fine");
    assert_int_equal(json_array_size(json_object_get(o, "nodes")), 4);
    json_array_foreach(json_object_get(o, "nodes"), at, row) has_keys(row, "a node", node, sizeof node / sizeof *node);
    json_decref(o);
}

/* --- auditors are audited --- */

/* An export's entry is before its rows, and among them; a denied one gives none. */
static void an_export_leaves_an_entry_first(void **state)
{
    (void)state;
    char entry[20], size[20], index[20], action[40], path[400];
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json export -o %s/audited", bed.dir, bed.dir);
    testbed_json(&out, "entry", entry, sizeof entry);
    testbed_json(&out, "checkpoint.size", size, sizeof size);
    assert_true(atoi(entry) < atoi(size)); /* what was given is under a checkpoint that covers the export itself */
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action ledger.export --limit 1", bed.dir);
    testbed_json(&out, "0.index", index, sizeof index);
    testbed_json(&out, "0.action", action, sizeof action);
    assert_string_equal(index, entry);
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json verify", bed.dir);
    testbed_json(&out, "entry", entry, sizeof entry);
    testbed_json(&out, "nodes.0.checked", size, sizeof size);
    assert_true(atoi(entry) < atoi(size));
    testbed_expect(&bed, 3, &out, "-i %s/doctor.key export --format ndjson -o %s/denied", bed.dir, bed.dir);
    snprintf(path, sizeof path, "%s/denied", bed.dir);
    assert_int_not_equal(access(path, F_OK), 0);
    testbed_expect(&bed, 0, &out,
                   "-i %s/auditor.key --json log --all --action ledger.export --decision denied --limit 1",
                   bed.dir);
    testbed_json(&out, "0.decision", action, sizeof action);
    assert_string_equal(action, "denied");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_say_how_to_go_on),
        cmocka_unit_test(a_file_is_not_written_over),
        cmocka_unit_test(hints_fit),
        cmocka_unit_test(each_command_has_its_receipt),
        cmocka_unit_test(a_lookup_has_its_receipt_too),
        cmocka_unit_test(a_token_has_its_receipt),
        cmocka_unit_test(a_proof_of_extension_has_its_receipt),
        cmocka_unit_test(a_log_that_goes_on_has_its_receipt),
        cmocka_unit_test(an_import_has_all_its_receipts),
        cmocka_unit_test(long_work_shows_how_far_it_is),
        cmocka_unit_test(the_report_keeps_its_names),
        cmocka_unit_test(an_export_leaves_an_entry_first),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
