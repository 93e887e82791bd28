"""Tests of the RESTCONF front end, over the toy dispatch and real sockets."""
