# embed_assets(TARGET HEADER FILE...): puts each file's bytes into TARGET as
#   extern const unsigned char asset_<name>[];  extern const size_t asset_<name>_len;
# where <name> is the file's name with every character but letters and digits made '_'. HEADER
# declares them all and is on TARGET's include path. A NUL, not counted, follows the bytes.
function(embed_assets target header)
    set(out "${CMAKE_CURRENT_BINARY_DIR}/assets")
    set(declarations "")
    foreach(file IN LISTS ARGN)
        get_filename_component(name "${file}" NAME)
        string(REGEX REPLACE "[^A-Za-z0-9]" "_" name "${name}")
        add_custom_command(
            OUTPUT "${out}/${name}.c"
            COMMAND "${CMAKE_COMMAND}" "-DIN=${file}" "-DOUT=${out}/${name}.c" "-DNAME=${name}" "-DHEADER=${header}"
                -P "${PROJECT_SOURCE_DIR}/cmake/embed_one.cmake"
            DEPENDS "${file}" "${PROJECT_SOURCE_DIR}/cmake/embed_one.cmake"
            COMMENT "Embedding ${name}" VERBATIM)
        target_sources(${target} PRIVATE "${out}/${name}.c")
        string(APPEND declarations
            "extern const unsigned char asset_${name}[];\nextern const size_t asset_${name}_len;\n")
    endforeach()
    string(MAKE_C_IDENTIFIER "${header}" guard)
    string(TOUPPER "${guard}" guard)
    file(CONFIGURE OUTPUT "${out}/${header}" @ONLY CONTENT [[
/* Made by cmake/EmbedAssets.cmake. */
#ifndef @guard@
#define @guard@
#include <stddef.h>
@declarations@#endif
]])
    target_include_directories(${target} PUBLIC "${out}")
endfunction()
