// The one translation unit that holds Beast's compiled parts (BEAST_SEPARATE_COMPILATION).
#include <boost/beast/src.hpp>
