# The usual ways in; cmake and ninja do the work, in build/.

BUILD  ?= build
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)
# Where scripts/deps.sh puts what it fetches, and where the build finds it.
export EDGE_EVAL_CACHE := $(abspath $(or $(EDGE_EVAL_CACHE),.cache))

CCACHE    := $(shell command -v ccache)
CONFIGURE  = cmake -G Ninja $(if $(CCACHE),-DCMAKE_C_COMPILER_LAUNCHER=ccache) \
             -DEDGE_EVAL_CACHE=$(EDGE_EVAL_CACHE) $(CMAKE_FLAGS)
CTEST     := ctest --output-on-failure --no-tests=error -j$(JOBS) --test-dir

# The thread sanitizer looks at what runs several threads on purpose.
TSAN_TESTS := $(basename $(notdir $(wildcard tests/test_meter*.c tests/test_sensor_wall.c tests/test_process.c tests/test_channel.c \
    tests/test_load.c tests/test_argmax.c)))

.PHONY: build all deps demo test check check-asan check-tsan check-e2e lint format install dist clean help FORCE
.NOTPARALLEL:

build: $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS) --target edge-eval

all: $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)

# Configured once, and again when the cache has moved; ninja sees to all other changes.
%/build.ninja: FORCE
	@command -v cmake >/dev/null && command -v ninja >/dev/null || \
	    { echo "cmake or ninja is missing: run make deps" >&2; exit 1; }
	@{ [ -e $@ ] && grep -qx 'EDGE_EVAL_CACHE:PATH=$(EDGE_EVAL_CACHE)' $*/CMakeCache.txt; } || \
	    $(CONFIGURE) -B $* -S .
FORCE:

deps:
	@scripts/deps.sh

demo: deps build
	$(BUILD)/edge-eval run plans/demo.yaml

test:
	@scripts/deps.sh --lint
	@$(MAKE) --no-print-directory all lint check-asan check-tsan check check-e2e

# Unit tests in the release build.
check: all
	$(if $(wildcard tests/test_*.c),$(CTEST) $(BUILD) -L unit,@echo "there are no unit tests")

check-e2e: build
	$(if $(wildcard tests/e2e/test_*.py),$(CTEST) $(BUILD) -L e2e,@echo "there are no end-to-end tests")

check-asan: CMAKE_FLAGS += -DEDGE_EVAL_SANITIZE=address,undefined
check-asan: $(BUILD)-asan/build.ninja
	@cmake --build $(BUILD)-asan -j $(JOBS)
	$(if $(wildcard tests/test_*.c),$(CTEST) $(BUILD)-asan -L unit)

check-tsan: CMAKE_FLAGS += -DEDGE_EVAL_SANITIZE=thread
check-tsan: $(BUILD)-tsan/build.ninja
	$(if $(TSAN_TESTS),@cmake --build $(BUILD)-tsan -j $(JOBS) --target edge-eval $(TSAN_TESTS))
	$(if $(TSAN_TESTS),$(CTEST) $(BUILD)-tsan -R '^($(subst $() $(),|,$(TSAN_TESTS)))$$')

format:
	@find src cmd tests bench -name '*.[ch]' -exec clang-format -i {} +

lint: $(BUILD)/build.ninja
	@scripts/lint.sh $(BUILD)

install: build
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD) --prefix "$(PREFIX)"

dist: build
	@scripts/dist.sh $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan dist

help:
	@echo "make           build $(BUILD)/edge-eval"
	@echo "make all       that, the tests and the benchmarks"
	@echo "make deps      fetch what the build needs: system packages, llama.cpp, the default model"
	@echo "make demo      deps, build, and run plans/demo.yaml"
	@echo "make test      everything: build, lint, unit tests (also with sanitizers), end-to-end tests"
	@echo "make check     unit tests alone; also check-e2e, check-asan, check-tsan, lint"
	@echo "make format    rewrite the C sources in the style that lint checks"
	@echo "make install   into PREFIX ($(PREFIX)), below DESTDIR"
	@echo "make dist      one relocatable folder below dist/"
	@echo "make clean     remove what was built; the cache in .cache/ stays"
