uname -r
ip link add d0 type veth peer name q0; ip link set q0 up
try() { # name, commands
  bad=0
  for i in $(seq 1 40); do
    ip link add link d0 name d0.100 type vlan id 100
    sh -c "$2"
    sleep 0.25
    up=$(( $(cat /sys/class/net/d0.100/flags) & 1 )); low=$(( $(cat /sys/class/net/d0/flags) & 1 ))
    lb=$(ip -d link show d0.100 | grep -c LOOSE)
    [ $up = 0 ] && [ $low = 1 ] && [ $lb = 0 ] || bad=$((bad+1))
    ip link del d0.100; ip link set d0 down
    sleep 0.05
  done
  echo "$1: bad $bad of 40"
}
try plain "ip link set d0 up; ip link set d0.100 down"
try updown "ip link set d0 up; ip link set d0.100 up; ip link set d0.100 down"
try loose "ip link set d0.100 type vlan loose_binding on; ip link set d0 up; ip link set d0.100 type vlan loose_binding off"
try twice "ip link set d0 up; ip link set d0.100 down; ip link set d0.100 down"
