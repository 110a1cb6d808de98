# Finds llama.cpp of exactly one version and makes the target edge_eval_llama of it:
#   1. EDGE_EVAL_LLAMA_DIR, an installation or a build tree   2. an installed CMake package
#   3. the cache that scripts/deps.sh fills
# Sets LLAMA_LIB_DIR, the directory that holds libllama and the ggml backends, and
# LLAMA_IS_BUNDLED, whether an installation of edge-eval takes those libraries along.

set(LLAMA_WANTED 0.5.0)

function(llama_from_directory dir)
    find_path(include llama.h PATHS "${dir}/include" NO_DEFAULT_PATH NO_CACHE)
    find_path(ggml_include ggml.h PATHS "${dir}/include" "${dir}/ggml/include" NO_DEFAULT_PATH NO_CACHE)
    foreach(name llama ggml ggml-base)
        find_library(lib_${name} NAMES ${name} lib${name}.v${LLAMA_WANTED}.so
            PATHS "${dir}/lib" "${dir}/lib64" "${dir}/bin" NO_DEFAULT_PATH NO_CACHE)
    endforeach()
    if(NOT include OR NOT ggml_include OR NOT lib_llama OR NOT lib_ggml OR NOT lib_ggml-base)
        return()
    endif()
    add_library(edge_eval_llama INTERFACE IMPORTED)
    target_include_directories(edge_eval_llama SYSTEM INTERFACE "${include}" "${ggml_include}")
    target_link_libraries(edge_eval_llama INTERFACE "${lib_llama}" "${lib_ggml}" "${lib_ggml-base}")
    get_filename_component(lib_dir "${lib_llama}" DIRECTORY)
    set(LLAMA_LIB_DIR "${lib_dir}" PARENT_SCOPE)
    set(LLAMA_IS_BUNDLED TRUE PARENT_SCOPE)
endfunction()

# Asks the library itself; the answer is kept until the library's file changes.
function(llama_check_version)
    file(GLOB lib "${LLAMA_LIB_DIR}/libllama*.so")
    list(GET lib 0 lib)
    file(TIMESTAMP "${lib}" id)
    if("${lib} ${id}" STREQUAL "${EDGE_EVAL_LLAMA_CHECKED}")
        return()
    endif()
    file(WRITE "${CMAKE_BINARY_DIR}/llama_version.c" [[
#include <llama.h>
#include <stdio.h>
int main(void) { return puts(llama_version()) < 0; }
]])
    try_run(ran compiled "${CMAKE_BINARY_DIR}" "${CMAKE_BINARY_DIR}/llama_version.c"
        LINK_LIBRARIES edge_eval_llama LINK_OPTIONS "-Wl,-rpath,${LLAMA_LIB_DIR}" -Wl,--disable-new-dtags
        COMPILE_OUTPUT_VARIABLE compile_log RUN_OUTPUT_VARIABLE version)
    if(NOT compiled OR NOT ran EQUAL 0)
        message(FATAL_ERROR "llama.cpp in ${LLAMA_LIB_DIR} cannot be used here:\n${compile_log}${version}\n"
            "Where its libraries are too new for this system: make deps LLAMA=source")
    endif()
    string(STRIP "${version}" version)
    if(NOT version MATCHES "^${LLAMA_WANTED}([^0-9]|$)")
        message(FATAL_ERROR "llama.cpp in ${LLAMA_LIB_DIR} is ${version}; edge-eval needs ${LLAMA_WANTED}. "
            "Leave EDGE_EVAL_LLAMA_DIR unset to use the pinned one.")
    endif()
    set(EDGE_EVAL_LLAMA_CHECKED "${lib} ${id}" CACHE INTERNAL "the library that was asked for its version")
endfunction()

set(EDGE_EVAL_LLAMA_DIR "$ENV{EDGE_EVAL_LLAMA_DIR}" CACHE PATH "a llama.cpp ${LLAMA_WANTED} installation or build tree")
set(LLAMA_IS_BUNDLED FALSE)

if(EDGE_EVAL_LLAMA_DIR)
    llama_from_directory("${EDGE_EVAL_LLAMA_DIR}")
    if(NOT TARGET edge_eval_llama)
        message(FATAL_ERROR "EDGE_EVAL_LLAMA_DIR=${EDGE_EVAL_LLAMA_DIR} has no llama.h, ggml.h, libllama, libggml "
            "and libggml-base below include/ and lib/")
    endif()
else()
    find_package(llama ${LLAMA_WANTED} CONFIG QUIET)
    if(llama_FOUND AND LLAMA_VERSION MATCHES "^${LLAMA_WANTED}([^0-9]|$)")
        add_library(edge_eval_llama INTERFACE IMPORTED)
        target_include_directories(edge_eval_llama SYSTEM INTERFACE "${LLAMA_INCLUDE_DIR}")
        target_link_libraries(edge_eval_llama INTERFACE llama)
    else()
        llama_from_directory("${EDGE_EVAL_CACHE}/llama")
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${EDGE_EVAL_CACHE}/llama/STAMP")
        if(NOT TARGET edge_eval_llama)
            message(FATAL_ERROR "llama.cpp is not in ${EDGE_EVAL_CACHE}: run make deps, which fetches it")
        endif()
    endif()
endif()
llama_check_version()
message(STATUS "llama.cpp ${LLAMA_WANTED}: ${LLAMA_LIB_DIR}")
