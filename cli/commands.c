#include "cli/commands.h"

#include <limits.h>

#define OPTION_PURPOSE                                                                             \
    {                                                                                              \
        .name = "purpose", .value = "CODE", .help = "why: TREAT, ETREAT, HPAYMT, HOPERAT, PATRQT ... (HL7)"   \
    }
#define OPTION_LIMIT(text)                                                                         \
    {                                                                                              \
        .name = "limit", .letter = 'n', .value = "N", .help = text                                 \
    }
#define OPTION_CURSOR                                                                              \
    {                                                                                              \
        .name = "cursor", .value = "HEX", .help = "go on where a page ended"                       \
    }
#define OPTION_CONFIDENTIALITY(text)                                                               \
    {                                                                                              \
        .name = "confidentiality", .letter = 'c', .value = "N|R|V", .help = text                   \
    }
#define OPTION_EMPTY                                                                               \
    {                                                                                              \
        .name = "empty", .help = "content of no bytes is meant, no mistake"                        \
    }
#define LOOKED_UP                                                                                  \
    "Users and patients are named by id or by login name. A login name is looked up\n"             \
    "first; that is an operation too, with an entry in the ledger."

const struct option_row COMMON_OPTIONS[] = {
    {.name = "cluster", .value = "FILE", .help = "the cluster's genesis file: what is trusted"},
    {.name = "identity", .letter = 'i', .value = "FILE", .help = "your key file"},
    {.name = "passphrase-file", .value = "FILE", .help = "its first line opens the key file"},
    {.name = "via", .value = "NODE", .help = "only through this node; alarms are heard from all"},
    {.name = "timeout", .value = "SECONDS", .help = "how long to wait for the cluster (10)"},
    {.name = "receipt", .value = "FILE|FOLDER/", .help = "keep the proof of each entry that this makes"},
    {.name = "json", .help = "for programs"},
    {.name = "yes", .letter = 'y', .help = "don't ask for confirmations"},
    {.name = "help", .letter = 'h', .help = "this text"},
    {.name = "version", .help = "the program's version"},
    {0},
};

const struct command COMMANDS[] = {
    {.name = "key new", .operands = "", .summary = "Make a key pair: your identity", .run = command_key_new,
     .details = "The private key never leaves the file, which a passphrase seals (Argon2id): 8 characters\n"
                "at least, better 15 or more (NIST SP 800-63B).\n"
                "Give 'key public FILE' to your administrator. Patients whom the hospital has\n"
                "registered before name their id here.",
     .example = "key new -o me.key\nkey new -o me.key --user 7mz3k2vq4t5yxw6lbjnfhsdg2e",
     .options = {{.name = "output", .letter = 'o', .value = "FILE", .help = "where to write it; never over a file",
                  .required = true},
                 {.name = "user", .value = "ID", .help = "the id that you have already"},
                 {.name = "no-passphrase", .help = "seal it with none (tests, services)"}}},
    {.name = "key public", .operands = "FILE", .least = 1, .most = 1, .summary = "Print a key file's public key",
     .run = command_key_public, .example = "key public me.key > me.pub"},
    {.name = "key assign", .operands = "FILE", .least = 1, .most = 1, .summary = "Write into a key file whose it is",
     .run = command_key_assign,
     .details = "Needed once where the user was there before the key: a patient's first key, or\n"
                "a further key of somebody.",
     .example = "key assign me.key --user 7mz3k2vq4t5yxw6lbjnfhsdg2e",
     .options = {{.name = "user", .value = "ID", .help = "the id that your administrator gave you", .required = true}}},
    {.name = "whoami", .operands = "", .summary = "Show who you are to the cluster", .run = command_whoami,
     .details = "Asking is an operation, with an entry in the ledger; --offline asks nobody.",
     .example = "whoami",
     .options = {{.name = "offline", .help = "only what the key file says"}}},

    {.name = "genesis", .operands = "", .summary = "Make a cluster's genesis file", .run = command_genesis,
     .details = "Every operator compares the cluster id that this prints with the others.\n"
                "--faulty is b, how many nodes may lie. Without it as many as can lie or be silent while the others\n"
                "go on, n >= 3b + 1: 0 of three nodes, 1 of four to six, 2 of seven to nine, 3 of ten to twelve,\n"
                "4 of more.",
     .example = "genesis --origin consilium/north --member a.descriptor --member b.descriptor "
                "--member c.descriptor --member d.descriptor --admin root.pub -o north.genesis",
     .options = {{.name = "origin", .value = "NAME", .help = "the cluster's name, like consilium/north",
                  .required = true},
                 {.name = "member", .value = "FILE", .help = "a node's descriptor", .repeated = true, .required = true},
                 {.name = "admin", .value = "FILE", .help = "a first administrator's public key", .repeated = true,
                  .required = true},
                 {.name = "policy", .value = "FILE", .help = "the first policy (default: the built-in one)"},
                 {.name = "faulty", .value = "B", .help = "nodes that may lie (by n: see above)"},
                 {.name = "approvals", .value = "M",
                  .help = "administrators who must approve proposals: there are none yet (1)"},
                 {.name = "output", .letter = 'o', .value = "FILE", .help = "where to write it", .required = true}}},
    {.name = "genesis show", .operands = "[FILE]", .most = 1, .summary = "Print what operators compare, in plain words",
     .run = command_genesis_show, .example = "genesis show north.genesis",
     .options = {{.name = "with-policy", .help = "the first policy, too"}}},

    {.name = "status", .operands = "", .summary = "Show the nodes, and what is possible now", .run = command_status,
     .details = "Asks one node, which tells what it knows of the others. With --json also its counters.\n"
                "Exit code 5: too few nodes are ready to record anything, or to open anything, now; nodes\n"
                "that are out of order while the others do both leave it 0.\n"
                "With --state-digest every node digests its whole state at one entry and signs what it\n"
                "found: whose data was altered is named, even if nobody has used it since. That needs\n"
                "an identity and makes an entry. Exit code 6: a node's state differs.",
     .example = "status\nstatus --state-digest",
     .options = {{.name = "state-digest", .help = "compare the states of all nodes"},
                 {.name = "wait", .value = "SECONDS", .help = "for the nodes' digests (30)"}}},
    {.name = "checkpoint", .operands = "", .summary = "Print the newest co-signed checkpoint",
     .run = command_checkpoint,
     .details = "A C2SP signed note (tlog-checkpoint, cosignature/v1), verified before it is printed.",
     .example = "checkpoint"},
    {.name = "lookup", .operands = "TOKEN", .least = 1, .most = 1, .summary = "Find out what became of a request",
     .run = command_lookup,
     .details = "After a time-out, the message names the token. Where it was recorded, the proof is\n"
                "fetched, too; for that you are made known to the node by an entry of your own.",
     .example = "lookup 1767225600000-7mz3k2vq4t5yxw6lbjnfhsdg2e"},

    {.name = "receipt verify", .operands = "FILE|FOLDER...", .least = 1, .most = UINT_MAX,
     .summary = "Check receipts, without any node, and say what they prove", .run = command_receipt_verify,
     .details = "Every command that makes entries keeps their proofs with --receipt FILE: the entry\n"
                "itself, its place in the tree, and the checkpoint that k nodes co-signed (a C2SP\n"
                "tlog-proof). FILE is the last entry's; where a command makes several (it looks up a\n"
                "login name, imports, verifies for long), each earlier one has FILE.ENTRY. With --receipt\n"
                "FOLDER/ each has FOLDER/ENTRY.tlog-proof. Nothing is ever written over, and a place\n"
                "that can't be used is refused before anything is recorded.\n"
                "Checking needs these files and the genesis file, nothing else. Of several (with --json\n"
                "an object a line) one that is bad is named, and the others are checked all the same.\n"
                "Exit code 6: one is not genuine, or is another cluster's.",
     .example = "receipt verify access.tlog-proof --cluster north.genesis\nreceipt verify receipts/",
     .options = {{.name = "key", .value = "FILE", .help = "a public key: also check that it signed the operation"}}},
    {.name = "node keys", .operands = "", .summary = "Print the nodes' verifier keys for checkpoints",
     .run = command_node_keys,
     .details = "One C2SP verifier key a line, from the genesis file; nobody is asked.", .example = "node keys"},

    {.name = "user add", .operands = "", .summary = "Register a user", .run = command_user_add,
     .details = "The name, address, designation and number can be erased later; they stand in no\n"
                "ledger entry. A user without a key (a patient, mostly) can get one with 'user key'.",
     .example = "user add --role doctor --hospital Mercy --login house --name \"Gregory House\" --key house.pub",
     .options = {{.name = "role", .value = "ROLE", .help = "doctor, nurse, patient, registrar, admin ...",
                  .required = true},
                 {.name = "hospital", .value = "H", .help = "the user's hospital", .required = true},
                 {.name = "login", .value = "NAME", .help = "a login name, unique in the cluster"},
                 {.name = "name", .value = "TEXT", .help = "the person's name"},
                 {.name = "address", .value = "TEXT", .help = "their address"},
                 {.name = "designation", .value = "TEXT", .help = "their title or department"},
                 {.name = "number", .value = "TEXT", .help = "the hospital's own number for them"},
                 {.name = "key", .value = "FILE|HEX", .help = "their public key", .repeated = true},
                 {.name = "id", .value = "ID", .help = "instead of an id from the key, or a random one"},
                 OPTION_PURPOSE}},
    {.name = "user show", .operands = "USER", .least = 1, .most = 1, .summary = "Show a user", .run = command_user_show,
     .details = "By id or login name. Asking is an operation, with an entry in the ledger.",
     .example = "user show house", .options = {OPTION_PURPOSE}},
    {.name = "user search", .operands = "[TEXT]", .most = 1, .summary = "Search users by name, role or hospital",
     .run = command_user_search,
     .details = "Root and admin users are never found. The search is an entry in the ledger; the\n"
                "text searched for is not part of it.",
     .example = "user search miller --role patient",
     .options = {{.name = "role", .value = "ROLE", .help = "only this role"},
                 {.name = "hospital", .value = "H", .help = "only this hospital"},
                 OPTION_LIMIT("users of one page (50)"), OPTION_CURSOR, OPTION_PURPOSE}},
    {.name = "user update", .operands = "USER", .least = 1, .most = 1, .summary = "Change a user's data or role",
     .run = command_user_update, .details = "What is not given stays as it is.\n" LOOKED_UP,
     .example = "user update house --designation \"Head of Diagnostics\"",
     .options = {{.name = "role", .value = "ROLE", .help = "another role"},
                 {.name = "hospital", .value = "H", .help = "another hospital"},
                 {.name = "login", .value = "NAME", .help = "another login name"},
                 {.name = "name", .value = "TEXT", .help = "another name"},
                 {.name = "address", .value = "TEXT", .help = "another address"},
                 {.name = "designation", .value = "TEXT", .help = "another title or department"},
                 {.name = "number", .value = "TEXT", .help = "another number of the hospital's own"},
                 OPTION_PURPOSE}},
    {.name = "user disable", .operands = "USER", .least = 1, .most = 1,
     .summary = "Disable a user, or enable them again",
     .run = command_user_disable, .details = LOOKED_UP, .example = "user disable house --note \"left the hospital\"",
     .options = {{.name = "enable", .help = "enable them again"},
                 {.name = "note", .value = "TEXT", .help = "why"},
                 OPTION_PURPOSE}},
    {.name = "user key", .operands = "USER KEY", .least = 2, .most = 2, .summary = "Give a user a key, or revoke one",
     .run = command_user_key,
     .details = "KEY is a file or the text of 'key public'. Its owner then runs 'key assign' once.\n"
                "A key that was revoked does not come back: make another one.\n" LOOKED_UP,
     .example = "user key 7mz3k2vq4t5yxw6lbjnfhsdg2e patient.pub",
     .options = {{.name = "revoke", .help = "take it away"}, OPTION_PURPOSE}},

    {.name = "team add", .operands = "PATIENT USER", .least = 2, .most = 2,
     .summary = "Add somebody to a patient's treatment team",
     .run = command_team_add, .details = LOOKED_UP, .example = "team add jmiller house", .options = {OPTION_PURPOSE}},
    {.name = "team remove", .operands = "PATIENT USER", .least = 2, .most = 2, .summary = "Remove somebody from it",
     .run = command_team_remove, .details = LOOKED_UP, .example = "team remove jmiller house",
     .options = {OPTION_PURPOSE}},
    {.name = "team list", .operands = "PATIENT", .least = 1, .most = 1, .summary = "List a patient's treatment team",
     .run = command_team_list, .details = LOOKED_UP, .example = "team list jmiller"},

    {.name = "record create", .operands = "[FILE]", .most = 1,
     .summary = "Store a record: a file, standard input, or vital signs",
     .run = command_record_create,
     .details = "The content is encrypted here, to a key that only k nodes together can use.\n"
                "--set makes a FHIR vital-signs Observation, or a Bundle of several: temperature,\n"
                "heart_rate, respiratory_rate, oxygen_saturation, blood_pressure, weight, height,\n"
                "bmi, head_circumference. No other --kind goes with it.\n" LOOKED_UP,
     .example = "record create --patient jmiller --kind Note note.txt\n"
                "record create --patient jmiller --set temperature=38.5 --set blood_pressure=120/80",
     .options = {{.name = "patient", .value = "PATIENT", .help = "whose record it is", .required = true},
                 {.name = "kind", .letter = 'k', .value = "KIND",
                  .help = "a FHIR resource type or a label (FHIR JSON says its own)"},
                 OPTION_CONFIDENTIALITY("normal (default), restricted, very restricted"),
                 {.name = "set", .value = "NAME=VALUE", .help = "a vital sign", .repeated = true}, OPTION_EMPTY,
                 OPTION_PURPOSE}},
    {.name = "record show", .operands = "[RECORD]", .most = 1, .summary = "Open a record, or a patient's chart",
     .run = command_record_show,
     .details = "The access stands in the ledger, co-signed, before anything opens. The content\n"
                "comes byte for byte, unless standard output is a terminal.\n" LOOKED_UP,
     .example = "record show 7mz3k2vq4t5yxw6lbjnfhsdg2e > record.json\nrecord show --patient jmiller -o chart/",
     .options = {{.name = "version", .value = "N", .help = "an earlier version"},
                 {.name = "patient", .value = "PATIENT", .help = "the latest version of all that you may see"},
                 {.name = "output", .letter = 'o', .value = "FILE",
                  .help = "into a file (a chart: a folder); never over a file"},
                 {.name = "force", .help = "also over files"},
                 OPTION_LIMIT("records of one page of a chart (512)"), OPTION_CURSOR, OPTION_PURPOSE}},
    {.name = "record update", .operands = "RECORD [FILE]", .least = 1, .most = 2,
     .summary = "Make a new version of a record",
     .run = command_record_update,
     .details = "Reads the latest version first (an entry in the ledger), shows what changes and\n"
                "asks; with --base N it doesn't ask, and if N is not the latest, exits with 7.\n"
                "Identical content makes no new version. --set is for records of the kind that it makes\n"
                "(see 'record create'). With --base, --patient and\n"
                "--confidentiality together nothing is read: for roles that only file.",
     .example = "record update 7mz3k2vq4t5yxw6lbjnfhsdg2e --base 1 note.txt",
     .options = {{.name = "base", .letter = 'b', .value = "N", .help = "the version that this one replaces"},
                 {.name = "patient", .value = "PATIENT", .help = "whose record it is"},
                 OPTION_CONFIDENTIALITY("as before, unless given"),
                 {.name = "set", .value = "NAME=VALUE", .help = "a vital sign", .repeated = true}, OPTION_EMPTY,
                 OPTION_PURPOSE}},
    {.name = "record delete", .operands = "RECORD", .least = 1, .most = 1,
     .summary = "Delete a record; its history stays",
     .run = command_record_delete,
     .details = "Asks for the record's latest version first (an entry in the ledger), unless --base\n"
                "and --patient say it.",
     .example = "record delete 7mz3k2vq4t5yxw6lbjnfhsdg2e",
     .options = {{.name = "base", .letter = 'b', .value = "N", .help = "the latest version, as you know it"},
                 {.name = "patient", .value = "PATIENT", .help = "whose record it is"}, OPTION_PURPOSE}},
    {.name = "record history", .operands = "RECORD", .least = 1, .most = 1, .summary = "List a record's versions",
     .run = command_record_history, .example = "record history 7mz3k2vq4t5yxw6lbjnfhsdg2e",
     .options = {OPTION_PURPOSE}},
    {.name = "record copy", .operands = "RECORD", .least = 1, .most = 1,
     .summary = "Copy a record to a patient, encrypted anew",
     .run = command_record_copy, .details = LOOKED_UP,
     .example = "record copy 7mz3k2vq4t5yxw6lbjnfhsdg2e --patient jmiller",
     .options = {{.name = "patient", .value = "PATIENT", .help = "whose record the copy is", .required = true},
                 {.name = "version", .value = "N", .help = "an earlier version"},
                 {.name = "kind", .letter = 'k', .value = "KIND", .help = "another kind"},
                 OPTION_CONFIDENTIALITY("as the source, unless given"), OPTION_PURPOSE}},
    {.name = "record list", .operands = "PATIENT", .least = 1, .most = 1, .summary = "List a patient's records",
     .run = command_record_list, .details = LOOKED_UP, .example = "record list jmiller",
     .options = {OPTION_LIMIT("records of one page (100)"), OPTION_CURSOR, OPTION_PURPOSE}},

    {.name = "import", .operands = "FILE...", .least = 1, .most = UINT_MAX,
     .summary = "Import patients from FHIR R4 bundles",
     .run = command_import,
     .details = "Each file is a Bundle (transaction, batch or collection) of one patient. The Patient\n"
                "becomes a user of your hospital, and every resource, the Patient too, a record of\n"
                "its kind, as it stands in the file but for white space between tokens. A security\n"
                "label R or V makes the record restricted or very restricted.\n"
                "\n"
                "Import again as often as you like: what is there with the same content stays, new\n"
                "content makes a new version, and an import that was cut off goes on. Nothing is\n"
                "opened for that: ids and tags come from your key, so use the same one. Records that\n"
                "others changed or deleted here are kept as they are. Names and addresses of patients\n"
                "who are registered already don't change, either: 'user update' does that.\n"
                "\n"
                "Bundles without a Patient (Practitioners, Organizations) are passed by. Resources\n"
                "over 1 MiB, or about somebody else, are named and not stored; exit code 1 then, or\n"
                "when a file can't be read, or when no bundle could be imported.",
     .example = "import patients/*.json\nimport patients/*.json --receipt receipts/",
     .options = {{.name = "replace", .help = "also write over what others changed here (not what they deleted)"},
                 OPTION_PURPOSE}},
    {.name = "event add", .operands = "PATIENT WHAT [OBJECT]", .least = 2, .most = 3,
     .summary = "Record an access that happened in another system", .run = command_event_add,
     .details = "WHAT and OBJECT are codes (printable ASCII, no spaces); free text is for --note,\n"
                "which can be erased.\n" LOOKED_UP,
     .example = "event add jmiller bill.print invoice-2291 --note \"second copy\"",
     .options = {{.name = "note", .value = "TEXT", .help = "in words"}, OPTION_PURPOSE}},
    {.name = "log", .operands = "", .summary = "Show who accessed what, newest first", .run = command_log,
     .details = "Without --patient, --actor or --all: patients see who touched their data, auditors\n"
                "everything, others what they did themselves. The query is an entry itself.\n"
                "Each entry is proved by the co-signed ledger, but for the role that the actor had then,\n"
                "which is the answering node's word: ROLE (UNPROVED), \"role_said\" with --json.\n"
                "Times: 2026-01-31, '2026-01-31 14:00', 12h, 7d, today, yesterday.\n"
                "With --follow --json each entry is one line. --json alone: where there is more, the\n"
                "last object of a page has no entry but \"next\", for --cursor; so in all lists.\n" LOOKED_UP,
     .example = "log\nlog --patient jmiller --decision denied --since 7d\nlog --all --follow",
     .options = {{.name = "patient", .value = "PATIENT", .help = "about this person"},
                 {.name = "actor", .value = "USER", .help = "by this person"},
                 {.name = "action", .value = "ACTION", .help = "only this action, like record.read"},
                 {.name = "decision", .value = "D", .help = "only approved, or only denied"},
                 {.name = "since", .value = "TIME", .help = "from here on"},
                 {.name = "until", .value = "TIME", .help = "up to here"},
                 {.name = "all", .help = "about and by everybody"},
                 {.name = "follow", .letter = 'f', .help = "then go on with new entries as they come"},
                 OPTION_LIMIT("entries of one page (50)"), OPTION_CURSOR, OPTION_PURPOSE}},

    {.name = "verify", .operands = "", .summary = "Check the whole ledger, of one node or of all",
     .run = command_verify,
     .details = "Pulls the ledger and recomputes every hash, signature and decision from genesis, in\n"
                "a private copy in $TMPDIR (or /var/tmp) that is thrown away; then compares the root\n"
                "with the checkpoint that k nodes co-signed, and with the one of your last verification,\n"
                "which is kept in ~/.cache/consilium. With --all every node's entries are compared,\n"
                "too: who holds something else is named, with the first entry that is wrong; then the\n"
                "states that the nodes keep beside the ledger (see 'status --state-digest'): last, since a\n"
                "node whose ledger is wrong quarantines itself on that.\n"
                "A node against which an alarm is open fails, too, where that is proved by the entries or\n"
                "said by more nodes than may lie, or by itself; else it is shown as others' word.\n"
                "A node that is two minutes late, against 100 entries a second, counts as unreachable.\n"
                "For auditors; export and states are entries of their own. Exit code 6: something is wrong.\n"
                "\n"
                "--since pulls nothing: it proves that the ledger which is co-signed now begins with\n"
                "the one that an older checkpoint signs (kept with 'checkpoint > FILE', or a receipt).\n"
                "One node's proof is enough, since it is one; --all asks each for its own. Anybody may do\n"
                "that: it needs no identity. With the identity of one who may export, it makes an entry\n"
                "first; of one who may not, the entry says denied, and the proof is asked for all the same.",
     .example = "verify\nverify --all --json\nverify --since last-year.checkpoint",
     .options = {{.name = "all", .help = "ask every node, not one"},
                 {.name = "wait", .value = "SECONDS", .help = "with --all, for the digests of their states (30)"},
                 {.name = "since", .value = "FILE", .help = "only prove that today's ledger extends this checkpoint"},
                 OPTION_PURPOSE}},
    {.name = "alarm list", .operands = "", .summary = "Show the alarms that are open", .run = command_alarm_list,
     .details = "An alarm says, in the ledger, that a node can't be trusted now. Kinds: modified (stored\n"
                "data is not what the ledger proves), deleted, forked (it signed two things that contradict\n"
                "each other), rolled back (its disk is older than what it has signed). FIRST and LAST are\n"
                "entries; of forked and rolled back they are Raft indexes (or sizes), which no entry has.\n"
                "It counts when signatures prove it (forked), the node says so itself, or b + 1 nodes do;\n"
                "else it is an accusation: one of the two is wrong. While one is open every command warns,\n"
                "and goes to nodes that none that counts names. TOLD BY is the node that says it has sent mail\n"
                "or webhook: a node that lies sends nothing, so look here. Asking makes no entry.",
     .example = "alarm list\nalarm list --all --json",
     .options = {{.name = "all", .help = "closed ones, too, newest first"}}},
    {.name = "alarm clear", .operands = "INDEX", .least = 1, .most = 1, .summary = "Close an alarm",
     .run = command_alarm_clear,
     .details = "INDEX is the alarm's entry. For administrators, once its cause is found: nodes close what\n"
                "they repaired themselves, but never that a node has signed contradictions. Clearing repairs\n"
                "nothing: a node that finds the same again raises another alarm.",
     .example = "alarm clear 4711 --note \"node-3 was rebuilt, disk exchanged\"",
     .options = {{.name = "note", .value = "TEXT", .help = "what was found and done, for the log"}}},
    {.name = "evidence list", .operands = "", .summary = "Show what nodes keep to prove that another one lied",
     .run = command_evidence_list,
     .details = "Evidence is two statements that one node signed and no honest node makes both of: two\n"
                "blocks or commits for one place, two roots, two checkpoints of one size. For who may\n"
                "export the ledger; asking is an entry of its own. All nodes are asked, or that of --via,\n"
                "and everything is checked here.",
     .example = "evidence list\nevidence list --via node-2 --json"},
    {.name = "evidence show", .operands = "ID|FILE", .least = 1, .most = 1,
     .summary = "Show evidence in words, or write it to a file", .run = command_evidence_show,
     .details = "ID: as 'evidence list' shows it, or its first 8 digits and more. The file proves the lie\n"
                "to anybody who has the genesis file; it says what in words, too.",
     .example = "evidence show 5d41402abc4b2a76\nevidence show 5d41402abc4b2a76 -o node-4.evidence",
     .options = {{.name = "output", .letter = 'o', .value = "FILE", .help = "where to write it; never over a file"}}},
    {.name = "evidence verify", .operands = "FILE", .least = 1, .most = 1,
     .summary = "Check evidence, without any node, and say whom it names", .run = command_evidence_verify,
     .details = "Needs the file and the genesis file, nothing else. Exit code 6: it proves nothing.",
     .example = "evidence verify node-4.evidence --cluster north.genesis"},
    {.name = "export", .operands = "", .summary = "Export a part of the ledger, each entry proved",
     .run = command_export,
     .details = "For auditors; the export is an entry of its own. Everything is checked against the\n"
                "checkpoint that k nodes co-signed before it is written.\n"
                "bundle: a folder of entries, hashes and the checkpoint (C2SP tlog-tiles), which\n"
                "'export verify' checks without any node. It holds whole tiles of 256 entries, so it\n"
                "may begin and end a little outside. The same command goes on with a folder that is\n"
                "unfinished. ndjson, csv: a row an entry, with the columns of 'log' that the entry\n"
                "itself proves; people and records by id. Files are never written over.",
     .example = "export --from 0 -o ledger-2026\nexport --from 1000 --to 1999 --format csv -o march.csv\n"
                "export --from 1000 --format ndjson > entries.ndjson",
     .options = {{.name = "from", .value = "N", .help = "the first entry (0)"},
                 {.name = "to", .value = "M", .help = "the last entry (the newest that is co-signed)"},
                 {.name = "output", .letter = 'o', .value = "FOLDER|FILE",
                  .help = "where to write; rows: standard output"},
                 {.name = "format", .value = "F", .help = "bundle (default), ndjson or csv"}, OPTION_PURPOSE}},
    {.name = "export verify", .operands = "FOLDER", .least = 1, .most = 1,
     .summary = "Check an exported folder, without any node", .run = command_export_verify,
     .details = "Needs the folder and the genesis file, nothing else. Exit code 6: it is not genuine, or\n"
                "entries are missing of the range that it states, or of --from to --to. Nothing signs\n"
                "the range that it states: say what was asked for where files may have been removed.",
     .example = "export verify ledger-2026 --cluster north.genesis\nexport verify ledger-2026 --from 0 --to 8191",
     .options = {{.name = "from", .value = "N", .help = "the first entry that has to be there"},
                 {.name = "to", .value = "M", .help = "the last entry that has to be there"}}},
    {.name = "policy show", .operands = "", .summary = "Show the policy in force", .run = command_policy_show,
     .example = "policy show"},
    {.name = "policy set", .operands = "FILE", .least = 1, .most = 1,
     .summary = "Set another policy for the whole cluster",
     .run = command_policy_set, .example = "policy set policy.conf"},
    {0},
};
