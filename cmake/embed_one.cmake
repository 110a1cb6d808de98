# One file as a C array; run by embed_assets with IN, OUT, NAME and HEADER.
file(READ "${IN}" hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR len "${digits} / 2")
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(WRITE "${OUT}" "#include \"${HEADER}\"\n\n"
    "const unsigned char asset_${NAME}[] = {${bytes}0};\n"
    "const size_t asset_${NAME}_len = ${len};\n")
