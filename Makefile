# Targets: all deps check asan tsan lint coverage fuzz fuzz-coverage sim kill disks floods chaos fresh other-debian bench demo demo-stop clean (V=1 shows commands).
# BUILD names the output folder, so that sanitizer builds live beside the plain one.
BUILD    ?= build
CC       ?= gcc
SAN      ?=
OPT      ?= -O2
WARN      = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
            -Wundef -Wformat=2 -Wno-missing-field-initializers -Wimplicit-fallthrough
CFLAGS   ?= $(OPT) -g
# _DEFAULT_SOURCE and _GNU_SOURCE: pipe2, accept4, fallocate, explicit Linux calls.
CPPFLAGS += -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
HARDEN    = -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
ALLFLAGS  = -std=c11 $(WARN) $(CPPFLAGS) $(HARDEN) $(CFLAGS) $(SAN) $(LTOFLAGS) -MMD -MP -pthread
# The two programs are optimised across files: decoding and replaying take a sixth less of a processor. All others link
# the same objects without that, since --wrap and doubled functions need calls between files.
ifndef LTO
LTO      := $(if $(SAN),,$(if $(findstring Free Software,$(shell $(CC) --version 2>/dev/null)),-flto=auto -ffat-lto-objects))
endif
# msgpack-c changed its library's name with version 6 (Debian 13).
MSGPACK   = $(if $(findstring /,$(shell $(CC) -print-file-name=libmsgpack-c.so 2>/dev/null)),-lmsgpack-c,-lmsgpackc)
LDLIBS    = -lsodium -lnettle -lmbedtls -lmbedx509 -lmbedcrypto -llmdb $(MSGPACK) -luv -ljansson -linih \
            -lsmartcols -lutf8proc -lpthread
# llhttp is a library in Debian 13. In Debian 12 the package node-llhttp has its C source, compiled below.
LLHTTP   := $(findstring /,$(shell $(CC) -print-file-name=libllhttp.so 2>/dev/null))
llhttp_src := $(if $(LLHTTP),,$(wildcard /usr/share/llhttp/*.c))
llhttp_obj = $(patsubst /usr/share/llhttp/%.c,$(BUILD)/llhttp/%.o,$(llhttp_src))
CPPFLAGS += $(if $(llhttp_src),-isystem /usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1)
LDLIBS   += $(if $(LLHTTP),-lllhttp)
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(SAN)
Q        := $(if $(V),,@)

LAYERS    = base crypto storage ledger net consensus
lib_src   = $(foreach d,$(LAYERS),$(wildcard $(d)/*.c))
node_src  = $(filter-out node/main.c,$(wildcard node/*.c))
cli_src   = $(filter-out cli/main.c,$(wildcard cli/*.c))
tool_src  = $(wildcard tests/lib/liar.c tests/lib/tamper.c tests/lib/bad_disk.c tests/lib/unwitnessed.c \
              tests/lib/short_log.c tests/lib/lean.c) \
            $(wildcard tests/lib/bad_clock.c)
tlib_src  = $(filter-out $(tool_src),$(wildcard tests/lib/*.c))
sim_src   = $(wildcard tests/sim/*.c)
unit_src  = $(wildcard tests/unit/*/test_*.c)
bed_src   = $(wildcard tests/unit/*/bed_*.c)
clus_src  = $(wildcard tests/cluster/test_*.c)
fuzz_src  = $(wildcard tests/fuzz/fuzz_*.c)
bench_src = $(filter-out tests/bench/fill_main.c,$(wildcard tests/bench/*.c))
o         = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB       = $(BUILD)/libconsilium.a
NODELIB   = $(BUILD)/libnode.a
CLILIB    = $(BUILD)/libcli.a
TLIB      = $(BUILD)/libtest.a
UNIT      = $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(unit_src))
CLUS      = $(patsubst tests/cluster/%.c,$(BUILD)/cluster/%,$(clus_src))
REPLAY    = $(patsubst tests/fuzz/%.c,$(BUILD)/replay/%,$(fuzz_src))
PROGS     = $(if $(wildcard node/main.c),$(BUILD)/consiliumd) $(if $(wildcard cli/main.c),$(BUILD)/consilium)

all: $(PROGS)
# The client carries the default policy (cli/default_policy.c reads it with .incbin, which has no place in LTO).
$(BUILD)/cli/default_policy.o: configs/policy.conf
OPTIMISED = $(filter-out %/default_policy.o,$(call o,$(lib_src) $(node_src) $(cli_src) node/main.c cli/main.c)) $(llhttp_obj)
$(PROGS) $(OPTIMISED): private LTOFLAGS = $(LTO)
.PHONY: all deps check asan tsan lint fuzz sim bench demo demo-stop clean unit cluster replay tools

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC  $<")
	$(Q)$(CC) $(ALLFLAGS) -c -o $@ $<

# Another project's code: without our warnings.
$(BUILD)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC  $<")
	$(Q)$(CC) -std=c11 -w $(CPPFLAGS) $(HARDEN) $(CFLAGS) $(SAN) $(LTOFLAGS) -pthread -c -o $@ $<

define archive
$(1): $$(call o,$(2))
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(eval $(call archive,$(LIB),$(lib_src)))
$(LIB): $(llhttp_obj)
$(eval $(call archive,$(NODELIB),$(node_src)))
$(eval $(call archive,$(CLILIB),$(cli_src)))
$(eval $(call archive,$(TLIB),$(tlib_src)))

# Only the node sends mail and webhooks; the client starts faster without.
$(BUILD)/consiliumd $(BUILD)/liar $(BUILD)/bad_disk $(BUILD)/frail $(BUILD)/unwitnessed $(BUILD)/older $(BUILD)/short_log $(BUILD)/lean $(BUILD)/tamper $(BUILD)/unit/% $(BUILD)/replay/% build/fuzz/fuzz_%: LDLIBS += -lcurl
LINK = @mkdir -p $(@D); $(if $(V),,echo "  LD  $@";) \
       $(CC) $(CFLAGS) $(SAN) $(or $(LTOFLAGS),-fno-lto) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS) $(LDLIBS)
$(BUILD)/consiliumd: $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK)
$(BUILD)/consilium: $(BUILD)/cli/main.o $(CLILIB) $(LIB)
	$(LINK)
# The liar wraps functions of the real node, main included; the tamperer has a main of its own.
WRAPPED   = main dkg_subshare tdh2_share_point clock_wall_ms driver_set_clock_ok driver_start peers_send \
            raft_message_encode raft_options_default statement_sign message_note_encode witness_start \
            driver_quarantine state_scan_step message_applied_encode
TOOLS     = $(patsubst tests/lib/%.c,$(BUILD)/%,$(filter-out %/bad_clock.c,$(tool_src))) $(BUILD)/frail $(BUILD)/older
$(BUILD)/liar: $(BUILD)/tests/lib/liar.o $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK) $(foreach f,$(WRAPPED),-Wl,--wrap=$(f))
# Its write and fdatasync come before the C library's, for LMDB as well.
$(BUILD)/bad_disk: $(BUILD)/tests/lib/bad_disk.o $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK) -Wl,--wrap=main
# What the bench switches off: only functions that are called from another file can be wrapped.
UNWITNESS = witness_applied witness_message witness_wait witness_wait_cancel witness_stop driver_state_commit
$(BUILD)/unwitnessed: $(BUILD)/tests/lib/unwitnessed.o $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK) $(foreach f,$(UNWITNESS),-Wl,--wrap=$(f))
# The same, and its clock may be wrong.
$(BUILD)/frail: $(BUILD)/tests/lib/bad_disk.o $(BUILD)/tests/lib/bad_clock.o $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK) -Wl,--wrap=main -Wl,--wrap=clock_wall_ms
# A node of an older release: what it offers other nodes. The same object serves unit tests.
$(BUILD)/older: $(BUILD)/tests/lib/older.o $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK)
$(BUILD)/short_log: $(BUILD)/tests/lib/short_log.o $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK) -Wl,--wrap=log_open
$(BUILD)/lean: $(BUILD)/tests/lib/lean.o $(BUILD)/node/main.o $(NODELIB) $(LIB)
	$(LINK) -Wl,--wrap=driver_start
$(BUILD)/tamper: $(BUILD)/tests/lib/tamper.o $(BUILD)/tests/lib/rewrite.o $(NODELIB) $(LIB)
	$(LINK)
tools: $(TOOLS)
$(BUILD)/simulate: $(call o,$(sim_src)) $(LIB)
	$(LINK)
$(BUILD)/bench: $(call o,$(bench_src)) $(TLIB) $(CLILIB) $(LIB)
	$(LINK)
$(BUILD)/fill: $(BUILD)/tests/bench/fill_main.o $(filter-out %/bench.o,$(call o,$(bench_src))) $(TLIB) $(CLILIB) $(LIB)
	$(LINK)
$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(TLIB) $(NODELIB) $(CLILIB) $(LIB)
	$(LINK) -lcmocka
# bed_X.c is what the programs test_X_*.c share; no other may link it, since it may double functions of the product.
$(foreach b,$(bed_src),$(eval $(filter $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(subst /bed_,/test_,$(b:.c=_%.c))),$(UNIT)): \
    $(call o,$(b))))
$(BUILD)/cluster/%: $(BUILD)/tests/cluster/%.o $(TLIB) $(CLILIB) $(LIB)
	$(LINK) -lcmocka
# The unit run feeds every fuzz target its corpus through an ordinary main().
$(BUILD)/replay/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(TLIB) $(NODELIB) $(CLILIB) $(LIB)
	$(LINK)

# --- tests -----------------------------------------------------------------
# What these targets build is built by all processors, unless make was told a number with -j.
PARALLEL   = $(if $(findstring j,$(filter-out --%,$(MAKEFLAGS))),,-j$(shell nproc))
# JOBS test programs run at once, one per processor unless it is given.
# VECTORS: a folder with published test vectors; tests that need it skip without.
# DATA: a folder of FHIR R4 bundles for the demo.
SEEDS     ?= 2000
FIXED     ?= 1000
replays    = $(foreach r,$(REPLAY),$(call replay_of,$(r),$(patsubst fuzz_%,%,$(notdir $(r)))))
replay_of  = "$(1) tests/fuzz/corpus/$(2)$(if $(FOUND), $(wildcard $(FOUND)/$(2)))"
sims       = $(if $(sim_src),"$(BUILD)/simulate --seeds $(FIXED) --first 1" "$(BUILD)/simulate --seeds $(SEEDS)")

deps:
	@sh configs/install-dependencies.sh build
deps-check:
	@sh configs/install-dependencies.sh build check
.PHONY: deps-check

# The tools are installed before anything is compiled, so that a fresh machine needs one command.
check: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=$(BUILD) tests
# First: one of them that begins last keeps the other processors waiting.
LONG = $(filter $(patsubst %,$(BUILD)/cluster/%,test_storm test_verify test_partition test_flood),$(CLUS))
# These wait for ticks and time-outs most of their time (a fifth of a processor each at most, most of them a fiftieth): one
# of them runs beside the others.
WAITING  = $(filter $(patsubst %,$(BUILD)/cluster/test_%,absent alert fork liar log_full set_back) \
             $(BUILD)/unit/cli/test_submit $(BUILD)/unit/consensus/test_driver%,$(CLUS) $(UNIT))
tests: $(UNIT) $(REPLAY) $(if $(sim_src),$(BUILD)/simulate) $(PROGS) $(CLUS) $(TOOLS)
	@BUILD=$(BUILD) WAITING="$(WAITING)" sh tests/run.sh $(filter-out $(WAITING),$(LONG) $(UNIT)) $(replays) $(sims) \
	    $(filter-out $(LONG) $(WAITING),$(CLUS))
.PHONY: tests
unit: $(UNIT)
	@BUILD=$(BUILD) sh tests/run.sh $(UNIT)
replay: $(REPLAY)
	@BUILD=$(BUILD) sh tests/run.sh $(replays)
cluster: $(PROGS) $(CLUS) $(TOOLS)
	@BUILD=$(BUILD) sh tests/run.sh $(CLUS)

# kill -9 of nodes at random for MINUTES, under load, every acknowledged operation checked on every node.
MINUTES ?= 3
kill: $(PROGS) $(BUILD)/cluster/test_kill
	$(Q)SECONDS=$$(($(MINUTES) * 60)) BUILD=$(BUILD) $(BUILD)/cluster/test_kill
.PHONY: kill

# Kills, also within a write, restarts, stops, a failing disk, a network that falls apart and a wrong clock, at random and
# at once for MINUTES, under load, with the same check. SEED=x: the same choices again. NODES: 5, or 3.
NODES ?= 5
chaos: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=$(BUILD) $(PROGS) $(BUILD)/frail $(BUILD)/cluster/chaos
	$(Q)SECONDS=$$(($(MINUTES) * 60)) $(if $(SEED),SEED=$(SEED)) NODES=$(NODES) BUILD=$(BUILD) $(BUILD)/cluster/chaos
.PHONY: chaos

# The long versions of two tests: a death at each of the first ROUNDS calls of each kind, and at each of one whole commit;
# every way to split five nodes in two.
ROUNDS ?= 3
crash: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=$(BUILD) $(PROGS) $(BUILD)/frail $(BUILD)/cluster/test_crash
	$(Q)ROUNDS=$(ROUNDS) BUILD=$(BUILD) $(BUILD)/cluster/test_crash
splits: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=$(BUILD) $(PROGS) $(BUILD)/frail $(BUILD)/cluster/test_partition
	$(Q)ALL=1 BUILD=$(BUILD) $(BUILD)/cluster/test_partition
.PHONY: crash splits

# Restarts in turn under load for MINUTES (an hour says something): no client of any node is refused anything, and what
# a node holds of memory and descriptors doesn't grow.
soak: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=$(BUILD) $(PROGS) $(BUILD)/lean $(BUILD)/cluster/test_restart
	$(Q)SECONDS=$$(($(MINUTES) * 60)) BUILD=$(BUILD) $(BUILD)/cluster/test_restart
.PHONY: soak

# The long versions of four tests: DAMAGES of a node's files, calls of a disk that fail; floods at full height (root: for
# 10,000 descriptors). SEED=x: the same damage again. TIMES=100 build/cluster/test_verify: so often where nothing is wrong.
DAMAGES ?= 100
disks: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=$(BUILD) $(PROGS) $(BUILD)/frail $(BUILD)/cluster/test_damage \
	    $(BUILD)/cluster/test_disks
	$(Q)DAMAGES=$(DAMAGES) $(if $(SEED),SEED=$(SEED)) BUILD=$(BUILD) $(BUILD)/cluster/test_damage
	$(Q)FAULTS=$(DAMAGES) $(if $(SEED),SEED=$(SEED)) BUILD=$(BUILD) $(BUILD)/cluster/test_disks
floods: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=$(BUILD) $(PROGS) $(BUILD)/cluster/test_flood $(BUILD)/cluster/test_storm
	$(Q)CLIENTS=2000 SENDERS=100 BUILD=$(BUILD) $(BUILD)/cluster/test_flood
	$(Q)FRAMES=1000000 CONNECTIONS=10000 CLIENTS=10000 SENDERS=100 ROUNDS=5 SLICE_MS=3000 BUILD=$(BUILD) $(BUILD)/cluster/test_storm
.PHONY: disks floods

# make demo and make check from nothing, in a bare Debian of this SUITE; as root. The other Debian's libraries (that
# with mbedTLS 3.6 on 12, 2.28 on 13) in CI's time: make short in there, where such a folder can be made.
fresh:
	@sh tests/fresh.sh $(SUITE)
other-debian:
	@sh tests/fresh.sh --short $(SUITE)
SHORT = story client commands bad_input people
short:
	@$(MAKE) --no-print-directory $(PARALLEL) OPT="-O2 -Werror" compile all tools
	@$(MAKE) --no-print-directory $(PARALLEL) OPT="-O2 -Werror" SEEDS=200 FIXED=200 \
	    CLUS="$(patsubst %,$(BUILD)/cluster/test_%,$(SHORT))" tests
.PHONY: fresh other-debian short

ASAN = SAN="-fsanitize=address,undefined -fno-sanitize-recover=all" OPT="-O1 -fno-omit-frame-pointer"
TSAN = SAN="-fsanitize=thread" OPT="-O1 -fno-omit-frame-pointer"
asan: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=build/asan $(ASAN) SEEDS=200 FIXED=200 tests
tsan: deps-check
	@TSAN_OPTIONS="suppressions=$(CURDIR)/tests/lib/tsan.supp $$TSAN_OPTIONS" \
	 $(MAKE) --no-print-directory $(PARALLEL) BUILD=build/tsan $(TSAN) SEEDS=50 FIXED=50 tests

# What the tests of `make check` run of the product's lines and branches; processes that a test kills with -9
# don't count. PAGES=1 also writes a page per file.
COVER    = SAN="--coverage -fprofile-update=atomic" OPT=-O1
GCOVR    = gcovr -r . $(foreach d,$(LAYERS) node cli,-f '$(d)/') --exclude-unreachable-branches --exclude-throw-branches \
           --gcov-ignore-parse-errors -s -o build/$@/by-file.txt $(if $(PAGES),--html-details build/$@/index.html) build/$@
coverage:
	@sh configs/install-dependencies.sh build check coverage
	@find build/$@ -name '*.gcda' -delete 2>/dev/null || true
	@COVERAGE=1 $(MAKE) --no-print-directory $(PARALLEL) BUILD=build/$@ $(COVER) SEEDS=200 FIXED=200 tests
	@$(GCOVR)
	@echo "by file: build/$@/by-file.txt"
# The same of the fuzz targets' seeds and what `make fuzz` found beside them: the lines of a decoder that none reaches.
fuzz-coverage:
	@sh configs/install-dependencies.sh build check coverage
	@find build/$@ -name '*.gcda' -delete 2>/dev/null || true
	@ANY=1 $(MAKE) --no-print-directory $(PARALLEL) BUILD=build/$@ $(COVER) FOUND=build/fuzz/corpus replay
	@$(GCOVR)
	@echo "by file: build/$@/by-file.txt"
.PHONY: coverage fuzz-coverage

sim: $(BUILD)/simulate
	$(Q)$(BUILD)/simulate $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

lint: deps-check
	@sh tests/lint/arrows.sh
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=build/lint-gcc CC=gcc LTO= OPT="-O2 -Werror" compile
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=build/lint-clang CC=clang OPT="-O1 -Werror" compile
	@cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
	    --suppressions-list=tests/lint/cppcheck.txt -I. -D_GNU_SOURCE -j 2 $(LAYERS) node cli
all_objects = $(call o,$(lib_src) $(node_src) $(cli_src) $(tlib_src) $(sim_src) $(unit_src) $(bed_src) $(clus_src) \
                $(fuzz_src) $(wildcard tests/bench/*.c node/main.c cli/main.c tests/fuzz/replay.c tests/cluster/chaos.c) $(tool_src))
compile: $(all_objects)
.PHONY: compile

# FUZZ_SECONDS for each target, with clang's libFuzzer, FUZZ_JOBS of them at once; FUZZ=bundle,share: of these only. A
# crash leaves its input in build/fuzz, beside what the target said; no other target begins then.
FUZZ_SECONDS ?= 30
FUZZ_JOBS ?= $(shell nproc)
comma     = ,
FUZZ_NAMES = $(or $(subst $(comma), ,$(FUZZ)),$(patsubst tests/fuzz/fuzz_%.c,%,$(fuzz_src)))
FUZZ_ONE  = mkdir -p build/fuzz/corpus/NAME; echo "  FUZZ NAME"; \
            build/fuzz/fuzz_NAME -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -rss_limit_mb=2048 -verbosity=0 \
            -print_final_stats=1 -artifact_prefix=build/fuzz/NAME- build/fuzz/corpus/NAME tests/fuzz/corpus/NAME \
            >build/fuzz/NAME.log 2>&1 && { echo "  DONE NAME"; cat build/fuzz/NAME.log; } || { cat build/fuzz/NAME.log; exit 255; }
fuzz: deps-check
	@$(MAKE) --no-print-directory $(PARALLEL) BUILD=build/fuzz CC=clang OPT=-O1 \
	    SAN="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" $(FUZZ_NAMES:%=build/fuzz/fuzz_%)
	@printf '%s\n' $(FUZZ_NAMES) | xargs -P $(FUZZ_JOBS) -I NAME sh -c '$(FUZZ_ONE)'
build/fuzz/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o $(patsubst %,build/fuzz/lib%.a,test node cli consilium)
	@$(if $(V),,echo "  LD  $@")
	$(Q)clang -fsanitize=fuzzer,address,undefined -o $@ $(filter %.o %.a,$^) $(LDFLAGS) $(LDLIBS)

# BENCH: what else, or what instead (build/bench --help); without --floor a figure's share of the ceiling is left out.
BENCH    ?= --floor
bench: deps $(BUILD)/bench $(PROGS) $(BUILD)/unwitnessed
	$(Q)BUILD=$(BUILD) $(BUILD)/bench $(BENCH)

# A cluster in the folder DIR with a ledger of LEAVES entries, or the one that is there filled up to so many.
LEAVES   ?= 1000000
fill: deps $(BUILD)/fill $(PROGS)
	$(Q)BUILD=$(BUILD) $(BUILD)/fill --leaves $(LEAVES) --dir $(or $(DIR),$(error DIR=folder is missing)) $(FILL)
.PHONY: fill

deps-demo:
	@sh configs/install-dependencies.sh build demo
.PHONY: deps-demo
demo: deps-demo
	@$(MAKE) -s --no-print-directory all $(BUILD)/tamper
	@DATA="$(DATA)" BUILD=$(BUILD) bash tests/demo/demo.sh
demo-stop:
	@bash tests/demo/demo.sh stop

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.SECONDARY:
