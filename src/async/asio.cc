// The one translation unit that holds Asio's compiled parts (BOOST_ASIO_SEPARATE_COMPILATION): all others only see
// declarations, which keeps their builds short.
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
