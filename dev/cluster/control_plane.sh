# Certificates, etcd, the API server, the controllers and the scheduler. Sourced by up.sh.
# shellcheck shell=bash

# The phases of 'kubeadm init' that only write files.
make_certificates() {
  local log=$LOGS/kubeadm.log settings=$CONF/kubeadm.yaml
  cat >"$settings.new" <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $NODE_IP, bindPort: $API_PORT}
nodeRegistration: {name: $CLUSTER_NAME, criSocket: "unix://$CRI_SOCKET"}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: $CLUSTER_NAME
kubernetesVersion: $KUBERNETES_VERSION
certificatesDir: $PKI
controlPlaneEndpoint: $NODE_IP:$API_PORT
networking: {serviceSubnet: $SERVICE_CIDR, podSubnet: $POD_CIDR, dnsDomain: cluster.local}
certificateValidityPeriod: 87600h
encryptionAlgorithm: ECDSA-P256
END
  if [ -f "$settings" ]; then
    cmp -s "$settings" "$settings.new" ||
      die "this cluster was made with another port or Kubernetes version: delete it with make cluster-down, then start again"
    rm "$settings.new"
    return
  fi
  rm -rf "$PKI" "$KUBECONFIGS"
  mkdir -p "$PKI" "$KUBECONFIGS"
  {
    timeout 60 kubeadm init phase certs all --config "$settings.new" &&
      timeout 60 kubeadm init phase kubeconfig all --config "$settings.new" --kubeconfig-dir "$KUBECONFIGS" &&
      timeout 60 kubeadm kubeconfig user --config "$settings.new" --client-name system:kube-proxy >"$KUBECONFIGS/kube-proxy.conf"
  } >"$log" 2>&1 || fail_with_log "kubeadm could not create the certificates" "$log"
  mv "$settings.new" "$settings" # last: this file means that all the others exist
  say "certificates created"
}

make_kubeconfig() { # the user's kubeconfig, of a member of system:masters
  if [ "$KUBECONFIG" -nt "$KUBECONFIGS/super-admin.conf" ]; then return; fi
  local new=$KUBECONFIG.new context
  cp "$KUBECONFIGS/super-admin.conf" "$new"
  chmod 600 "$new"
  context=$(kubectl --kubeconfig "$new" config current-context)
  kubectl --kubeconfig "$new" config rename-context "$context" "$CLUSTER_NAME" >/dev/null
  mv "$new" "$KUBECONFIG"
}

start_etcd() {
  local client=https://127.0.0.1:$ETCD_PORT peer=https://127.0.0.1:$ETCD_PEER_PORT
  local options=(
    --name "$CLUSTER_NAME" --data-dir "$STATE/etcd" --log-level warn
    --listen-client-urls "$client" --advertise-client-urls "$client"
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "$CLUSTER_NAME=$peer"
    --client-cert-auth --trusted-ca-file "$PKI/etcd/ca.crt" --cert-file "$PKI/etcd/server.crt" --key-file "$PKI/etcd/server.key"
    --peer-client-cert-auth --peer-trusted-ca-file "$PKI/etcd/ca.crt"
    --peer-cert-file "$PKI/etcd/peer.crt" --peer-key-file "$PKI/etcd/peer.key"
  )
  ensure etcd "$BIN/etcd" "${options[@]}"
}

start_api_server() {
  # shellcheck disable=SC2054 # the commas are the API server's
  local options=(
    --bind-address="$NODE_IP" --advertise-address="$NODE_IP" --secure-port="$API_PORT"
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt"
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true
    --service-cluster-ip-range="$SERVICE_CIDR"
    # to etcd
    --etcd-servers="https://127.0.0.1:$ETCD_PORT" --etcd-cafile="$PKI/etcd/ca.crt"
    --etcd-certfile="$PKI/apiserver-etcd-client.crt" --etcd-keyfile="$PKI/apiserver-etcd-client.key"
    # to the kubelet
    --kubelet-preferred-address-types=InternalIP,Hostname
    --kubelet-client-certificate="$PKI/apiserver-kubelet-client.crt" --kubelet-client-key="$PKI/apiserver-kubelet-client.key"
    # to API servers behind this one, such as the metrics server
    --proxy-client-cert-file="$PKI/front-proxy-client.crt" --proxy-client-key-file="$PKI/front-proxy-client.key"
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
    --requestheader-extra-headers-prefix=X-Remote-Extra-
    # pods' tokens
    --service-account-issuer=https://kubernetes.default.svc.cluster.local
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key"
    --v=1
  )
  ensure kube-apiserver "$BIN/kube-apiserver" "${options[@]}"
}

start_controllers() {
  local identity=$KUBECONFIGS/controller-manager.conf
  local options=(
    --kubeconfig="$identity" --authentication-kubeconfig="$identity" --authorization-kubeconfig="$identity"
    --bind-address=127.0.0.1 --client-ca-file="$PKI/ca.crt" --requestheader-client-ca-file="$PKI/front-proxy-ca.crt"
    --use-service-account-credentials=true --leader-elect=false
    --root-ca-file="$PKI/ca.crt" --service-account-private-key-file="$PKI/sa.key"
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key"
    --cluster-name="$CLUSTER_NAME" --allocate-node-cidrs=true --cluster-cidr="$POD_CIDR" --node-cidr-mask-size="${POD_CIDR#*/}"
    --service-cluster-ip-range="$SERVICE_CIDR"
  )
  ensure kube-controller-manager "$BIN/kube-controller-manager" "${options[@]}"
}

start_scheduler() {
  local identity=$KUBECONFIGS/scheduler.conf
  ensure kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$identity" --authentication-kubeconfig="$identity" \
    --authorization-kubeconfig="$identity" --bind-address=127.0.0.1 --leader-elect=false
}
